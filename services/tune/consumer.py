"""The service's face on the topics: what answers, ratings and replicas tell of aliases."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import TypeVar

import structlog
from opentelemetry.trace import SpanKind

from services.common.bus import ADAPTERS_REPORTED, ANSWERS_FAILED, INTERACTIONS, RATINGS, Record
from services.common.telemetry import RECORD_FAILED, spanned
from services.tune.adapters.canaries import PostgresCanaries
from services.tune.adapters.canary_records import MalformedRecord, answer_of, failure_of, rating_of, replica_of
from services.tune.adapters.registry import PostgresAdapters
from services.tune.registry_metrics import RECORDS

TOPICS = (INTERACTIONS, RATINGS, ANSWERS_FAILED, ADAPTERS_REPORTED)
GROUP = "tune"

T = TypeVar("T")

log = structlog.get_logger()


class RegistryConsumer:
    """Counts for canaries, and keeps what replicas report; each record once, however often it comes."""

    def __init__(self, canaries: PostgresCanaries, adapters: PostgresAdapters, counted: Callable[[], None]) -> None:
        """`counted` is told when something new counts."""
        self._canaries = canaries
        self._adapters = adapters
        self._counted = counted

    async def handle(self, records: Sequence[Record]) -> None:
        """Keep what can be decoded; what cannot is logged and counted, and never blocks the rest."""
        topics: defaultdict[str, list[Record]] = defaultdict(list)
        for record in records:
            topics[record.topic].append(record)
        with spanned("registry count", kind=SpanKind.CONSUMER):
            answers = [*_decoded(topics[INTERACTIONS], answer_of), *_decoded(topics[ANSWERS_FAILED], failure_of)]
            ratings = _decoded(topics[RATINGS], rating_of)
            reports = _decoded(topics[ADAPTERS_REPORTED], replica_of)
            counted = await self._canaries.note_answers(answers) if answers else 0
            counted += await self._canaries.note_ratings(ratings) if ratings else 0
            if reports:
                await self._adapters.note_replicas(reports)
        RECORDS.labels("counted").inc(counted)
        if counted:
            self._counted()


def _decoded(records: Sequence[Record], decode: Callable[[bytes], T | None]) -> list[T]:
    found = []
    for record in records:
        try:
            told = decode(record.value)
        except MalformedRecord as error:
            RECORDS.labels("malformed").inc()
            log.warning(
                RECORD_FAILED, topic=record.topic, partition=record.partition, offset=record.offset, reason=str(error)
            )
            continue
        if told is not None:
            found.append(told)
    return found
