"""What is counted of aliases, canaries and adapters on replicas."""

import asyncio
import contextlib
from collections.abc import Callable
from datetime import datetime

from prometheus_client import Counter, Gauge

from services.tune.adapters.canaries import PostgresCanaries
from services.tune.adapters.registry import PostgresAdapters
from services.tune.domain.canaries import CanaryState, Decision
from services.tune.domain.errors import StoreUnavailable
from services.tune.domain.registry import SILENT_AFTER, MoveAction, Readiness

OBSERVE_SECONDS = 15.0

MOVES = Counter("tandem_tune_alias_moves_total", "Changes of aliases, by what was done.", ["action"])
DECISIONS = Counter("tandem_tune_canary_decisions_total", "Canaries that the rule ended, by how.", ["decision"])
CANARIES = Gauge("tandem_tune_canaries", "Canaries of all tenants that are kept, by state.", ["state"])
REPLICAS = Gauge(
    "tandem_tune_adapter_replicas",
    "Adapters on replicas that were heard of in the last two minutes, one for each pair, by readiness.",
    ["readiness"],
)
RECORDS = Counter(
    "tandem_tune_canary_records_total", "Records for canaries and of replicas: counted, or malformed.", ["outcome"]
)
PUBLISHED = Counter("tandem_tune_alias_states_total", "States of aliases published again, as every half minute.")

for _outcome in ("counted", "malformed"):
    RECORDS.labels(_outcome)
for _action in MoveAction:
    MOVES.labels(_action.value)
for _decision in Decision:
    DECISIONS.labels(_decision.value)


def moved(action: MoveAction) -> None:
    """Count a move."""
    MOVES.labels(action.value).inc()


async def observe(canaries: PostgresCanaries, adapters: PostgresAdapters, now: Callable[[], datetime]) -> None:
    """Keep the gauges as the database is, for ever."""
    while True:
        with contextlib.suppress(StoreUnavailable):
            states = await canaries.states()
            for state in CanaryState:
                CANARIES.labels(state.value).set(states.get(state.value, 0))
            found = await adapters.readiness(now() - SILENT_AFTER)
            for readiness in (Readiness.READY, Readiness.FAILED):
                REPLICAS.labels(readiness.value).set(found.get(readiness, 0))
        await asyncio.sleep(OBSERVE_SECONDS)
