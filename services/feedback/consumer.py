"""The service's face on `interactions`: decode, store, and let the bus commit."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime

import structlog
from opentelemetry.trace import Link, SpanKind, get_current_span
from prometheus_client import Counter, Histogram

from services.common.bus import Record
from services.common.identity import system
from services.common.telemetry import RECORD_FAILED, SECONDS, extract, spanned
from services.feedback.adapters.messages import MalformedInteraction, interaction_of
from services.feedback.adapters.postgres import PostgresFeedback
from services.feedback.domain import Interaction

INTERACTIONS_TOTAL = Counter(
    "tandem_interactions_total",
    "Records on `interactions`: stored, repeated (or of who was erased), or malformed.",
    ["outcome"],
)
LAG_SECONDS = Histogram(
    "tandem_interaction_lag_seconds", "From a question to its interaction being stored.", buckets=SECONDS
)

log = structlog.get_logger()


class InteractionConsumer:
    """Stores every interaction once, however often its record comes."""

    def __init__(self, store: PostgresFeedback, now: Callable[[], datetime]) -> None:
        self._store = store
        self._now = now

    async def handle(self, records: Sequence[Record]) -> None:
        """Store what can be decoded; what cannot is logged and counted, and never blocks the rest."""
        with spanned("interactions store", kind=SpanKind.CONSUMER, links=_links(records)):
            decoded = [interaction for record in records if (interaction := _decoded(record))]
            stored = await self._stored(decoded)
        INTERACTIONS_TOTAL.labels("stored").inc(stored)
        INTERACTIONS_TOTAL.labels("repeated").inc(len(decoded) - stored)
        now = self._now()
        for interaction in decoded:
            LAG_SECONDS.observe(max(0.0, (now - interaction.asked_at).total_seconds()))

    async def _stored(self, interactions: Sequence[Interaction]) -> int:
        tenants: defaultdict[str, list[Interaction]] = defaultdict(list)
        for interaction in interactions:
            tenants[interaction.tenant_id].append(interaction)
        counts = [await self._store.add_interactions(system(name, "feedback"), own) for name, own in tenants.items()]
        return sum(counts)


def _links(records: Sequence[Record]) -> list[Link]:
    return [Link(get_current_span(extract(record.headers)).get_span_context()) for record in records]


def _decoded(record: Record) -> Interaction | None:
    try:
        return interaction_of(record.value)
    except MalformedInteraction as error:
        INTERACTIONS_TOTAL.labels("malformed").inc()
        log.warning(
            RECORD_FAILED, topic=record.topic, partition=record.partition, offset=record.offset, reason=str(error)
        )
        return None
