"""What Prometheus sees of generation; vLLM's own metrics are beside these."""

from collections.abc import Iterable

from prometheus_client import REGISTRY, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from services.generate.admission import Admission
from services.generate.aliases import Aliases
from services.generate.shelf import AdapterShelf

TTFT_BUCKETS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
GAP_BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2)
LOAD_BUCKETS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120)
DIGEST_CHARACTERS = 12

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

SWAPS = Counter(
    "tandem_generate_adapter_swaps_total",
    "Adapters of aliases made ready beside what answers, by outcome: ok, or the reason why not.",
    ["outcome"],
)
LOAD_SECONDS = Histogram(
    "tandem_generate_adapter_ready_seconds",
    "Fetching, checking, loading and proving an adapter of an alias, together.",
    buckets=LOAD_BUCKETS,
)
PROBE_FAILURES = Counter(
    "tandem_generate_adapter_probe_failures_total", "Adapters that did not answer as where they were trained."
)
STREAMS = Gauge(
    "tandem_generate_adapter_streams",
    "Streams on adapters, by state: current are those in use, leaving those that go with their last stream.",
    ["state"],
)
CACHED_TOKENS = PROMPT_TOKENS.labels("true")
COMPUTED_TOKENS = PROMPT_TOKENS.labels("false")


class _InUse(Collector):
    """Shows which adapters answer under aliases: as many series as the engine holds adapters, and no more."""

    def __init__(self, aliases: Aliases) -> None:
        self._aliases = aliases

    def collect(self) -> Iterable[Metric]:
        family = GaugeMetricFamily(
            "tandem_generate_adapter_in_use",
            "1 for each adapter that answers under an alias: the beginning of its digest, and live or canary.",
            labels=("tenant", "alias", "digest", "role"),
        )
        for kept in self._aliases.all():
            for role, held in (("live", kept.live), ("canary", kept.canary)):
                if held and held.ref:
                    digest = held.ref.digest.removeprefix("sha256:")[:DIGEST_CHARACTERS]
                    family.add_metric((kept.wanted.tenant_id, kept.wanted.name, digest, role), 1)
        yield family


def observe(admission: Admission, shelf: AdapterShelf, aliases: Aliases) -> None:
    """Read the gauges from these whenever Prometheus asks."""
    RUNNING.set_function(lambda: admission.running)
    WAITING.set_function(lambda: admission.waiting)
    ADAPTERS.set_function(shelf.count)
    STREAMS.labels("current").set_function(lambda: shelf.streams(retired=False))
    STREAMS.labels("leaving").set_function(lambda: shelf.streams(retired=True))
    REGISTRY.register(_InUse(aliases))
