"""The consumer of `documents.changed`: decodes, has the indexer do it, tells what became of each, commits last."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import structlog
from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from services.common.bus import Record
from services.common.errors import Unavailable
from services.common.telemetry import RECORD_FAILED, extract, failing, tracer
from services.embed.domain import Change, Failed, InvalidRecord, Result, newest
from services.embed.metrics import DEAD_LETTERS, DOCUMENTS
from services.embed.records import change_of, dead_letter, indexed_record

GROUP = "embed"
SPAN = "documents.changed process"
# No longer: what waits here takes a place from other tenants; the records come again after a rest.
PATIENCE_SECONDS = 5.0
ATTEMPTS_ALONE = 3
INTERNAL = "INTERNAL"

log = structlog.get_logger()


class Sender(Protocol):
    """Writes records to the event log."""

    async def send(self, records: Sequence[Record]) -> None:
        """Return when the log has them all."""


class Indexing(Protocol):
    """Makes tenants' indexes say what changes say; see PlacedIndexer."""

    async def index(self, changes: Sequence[Change]) -> list[Result]:
        """Return what became of each change; raise Unavailable where trying again may help."""

    async def withdraw(self, change: Change) -> None:
        """Remove what is stored of a document whose newest version cannot be indexed."""


@dataclass(frozen=True, slots=True)
class _Work:
    change: Change
    record: Record
    span: Span


class DocumentConsumer:
    """Handles batches of records; none of them can make it fail for ever."""

    def __init__(self, indexer: Indexing, sender: Sender, now: Callable[[], datetime]) -> None:
        self._indexer = indexer
        self._sender = sender
        self._now = now

    async def handle(self, records: Sequence[Record]) -> None:
        """Bring `records` into the index, and publish what became of each document.

        Raises:
            Unavailable: a part of the platform is away; the records must come again.
        """
        with contextlib.ExitStack() as spans:
            work, told = self._decoded(records, spans)
            results = await self._index([one.change for one in work])
            for one, result in zip(work, results, strict=True):
                with trace.use_span(one.span, record_exception=False, set_status_on_exception=False), failing(one.span):
                    told.extend(self._told(one, result))
            if told:
                await self._sender.send(told)

    def _decoded(self, records: Sequence[Record], spans: contextlib.ExitStack) -> tuple[list[_Work], list[Record]]:
        """Return the newest change of each document, and dead letters for what cannot be read."""
        sources: dict[int, Record] = {}
        changes: list[Change] = []
        dead: list[Record] = []
        for record in records:
            try:
                change = change_of(record)
            except InvalidRecord as error:
                dead.append(self._dead(record, error.reason, str(error)))
            else:
                changes.append(change)
                sources[id(change)] = record
        kept = newest(changes)
        return [_work(change, sources[id(change)], spans) for change in kept], dead

    async def _index(self, changes: Sequence[Change]) -> list[Result]:
        try:
            return await self._patiently(changes)
        except Unavailable:
            raise
        except Exception:
            # One of them does what nobody foresaw; alone, it cannot keep the others.
            log.exception("batch_failed", documents=len(changes))
        return [await self._index_alone(change) for change in changes]

    async def _index_alone(self, change: Change) -> Result:
        fault = ""
        for _ in range(ATTEMPTS_ALONE):
            try:
                return (await self._patiently([change]))[0]
            except Unavailable:
                raise
            except Exception as error:
                fault = type(error).__name__
                log.exception(RECORD_FAILED, tenant=change.tenant_id, document=change.document_id)
        await self._withdraw(change)
        return Result(Failed(change.version, INTERNAL, f"indexing failed: {fault}"))

    async def _withdraw(self, change: Change) -> None:
        """Remove what an unforeseen fault left; a part that is away is waited for, so that nothing stale stays."""
        try:
            await self._indexer.withdraw(change)
        except Unavailable:
            raise
        except Exception:
            log.exception("withdraw_failed", tenant=change.tenant_id, document=change.document_id)

    async def _patiently(self, changes: Sequence[Change]) -> list[Result]:
        patient = AsyncRetrying(
            retry=retry_if_exception_type(Unavailable),
            wait=wait_random_exponential(0.2, 3),
            stop=stop_after_delay(PATIENCE_SECONDS),
            before_sleep=lambda state: log.warning("part_unavailable", attempt=state.attempt_number),
            reraise=True,
        )
        return await patient(self._indexer.index, changes)

    def _told(self, one: _Work, result: Result) -> Iterator[Record]:
        outcome = result.outcome
        kind = type(outcome).__name__.lower() if outcome else "superseded"
        DOCUMENTS.labels(kind).inc()
        one.span.set_attribute("tandem.outcome", kind)
        if outcome is None:
            return
        yield indexed_record(one.change, outcome, result.beside, self._now())
        if isinstance(outcome, Failed):
            log.warning(
                RECORD_FAILED, tenant=one.change.tenant_id, document=one.change.document_id, reason=outcome.reason
            )
            yield self._dead(one.record, outcome.reason, outcome.message)

    def _dead(self, record: Record, reason: str, detail: str) -> Record:
        DEAD_LETTERS.labels(reason).inc()
        return dead_letter(record, reason, detail, self._now())


def _work(change: Change, record: Record, spans: contextlib.ExitStack) -> _Work:
    span = tracer.start_span(SPAN, extract(record.headers), SpanKind.CONSUMER)
    spans.callback(span.end)
    return _Work(change, record, span)
