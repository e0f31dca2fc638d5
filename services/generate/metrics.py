"""What Prometheus sees of generation; vLLM's own metrics are beside these."""

from collections.abc import Callable

from prometheus_client import Counter, Gauge, Histogram

TTFT_BUCKETS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
GAP_BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2)

RUNNING = Gauge("tandem_generate_running", "Requests that the engine has.")
WAITING = Gauge("tandem_generate_waiting", "Requests that wait for the engine.")
ADAPTERS = Gauge("tandem_generate_adapters", "Adapters in the engine.")
PROMPT_TOKENS = Counter(
    "tandem_generate_prompt_tokens_total",
    "Tokens of prompts, by whether the prefix cache served them: of what was read, the share of true is its hit rate.",
    ["cached"],
)
COMPLETION_TOKENS = Counter("tandem_generate_completion_tokens_total", "Tokens written.")
REJECTED = Counter("tandem_generate_rejected_total", "Requests turned away because the engine was busy.")
ADAPTER_LOADS = Counter("tandem_generate_adapter_loads_total", "Adapters asked for, by outcome.", ["outcome"])
FIRST_TOKEN_SECONDS = Histogram(
    "tandem_generate_first_token_seconds", "From a request's arrival to its first token.", buckets=TTFT_BUCKETS
)
GAP_SECONDS = Histogram(
    "tandem_generate_token_gap_seconds", "Between what an engine brings and what it brings next.", buckets=GAP_BUCKETS
)

CACHED_TOKENS = PROMPT_TOKENS.labels("true")
COMPUTED_TOKENS = PROMPT_TOKENS.labels("false")


def observe(running: Callable[[], int], waiting: Callable[[], int], adapters: Callable[[], int]) -> None:
    """Read the gauges from these whenever Prometheus asks."""
    RUNNING.set_function(running)
    WAITING.set_function(waiting)
    ADAPTERS.set_function(adapters)
