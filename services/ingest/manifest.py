"""Every write to the manifest: rows and the records that tell of them, in one transaction."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import uuid4

from sqlalchemy.ext.asyncio import AsyncSession

from services.common.database import Sessions
from services.common.outbox import Outbox
from services.ingest import metrics
from services.ingest.adapters import documents, sources
from services.ingest.adapters.messages import changed_record
from services.ingest.adapters.postgres import transaction
from services.ingest.changes import Change, Known, Tally, outcome_of
from services.ingest.domain import (
    DOCUMENT_TOO_LARGE,
    PUSH,
    Document,
    DocumentState,
    Draft,
    Failure,
    Report,
    Source,
    SourceState,
    first,
    renew,
    replay,
    republish,
    retire,
    revise,
    settle,
)
from services.ingest.errors import NotAPushSource, SourceNotFound, SourceNotSyncable

BATCH = 1000

Request = tuple[str, str]  # a source's id or name, and a request id or ""
Step = tuple[Document | None, Document]  # a row as it was, and as it is now


class Manifest:
    """What is known of every document. Acknowledged means committed, its record in the outbox."""

    def __init__(self, sessions: Sessions, outbox: Outbox, now: Callable[[], datetime], max_bytes: int) -> None:
        self._sessions = sessions
        self._outbox = outbox
        self._now = now
        self._max_bytes = max_bytes

    async def known(self, source_id: str, only: Iterable[str] | None = None) -> dict[str, Known]:
        """Return what is known of a source's documents; see Connector.scan for `only`."""
        async with transaction(self._sessions) as session:
            return await documents.known(session, source_id, None if only is None else list(only))

    async def record(self, source_id: str, changes: Sequence[Change]) -> Tally:
        """Record what a sync found; of what was changed meanwhile, nothing.

        Raises:
            SourceNotSyncable, SourceNotFound: it was paused or deleted meanwhile.
        """
        async with transaction(self._sessions) as session:
            source = await sources.get(session, source_id, lock=True)
            if source.state is not SourceState.ACTIVE:
                raise SourceNotSyncable("the source is not active", source=source.name, state=source.state)
            rows = await documents.lock(session, source_id, [change.external_id for change in changes])
            found = (self._changed(source, change, rows.get(change.external_id)) for change in changes)
            steps = [step for step in found if step]
            await self._write(session, steps, {source_id: source.name})
        self._committed(steps)
        return sum((outcome_of(*step) for step in steps), Tally())

    async def push(self, tenant_id: str, request: Request, drafts: Sequence[Draft]) -> list[Document]:
        """Record documents whose contents are stored, and return their rows in order.

        A request that was served before changes nothing.

        Raises:
            SourceNotFound, NotAPushSource: there is nowhere to put them.
        """
        name, request_id = request
        async with transaction(self._sessions) as session:
            repeated = await sources.served(session, tenant_id, "push", request_id)
            source = await self._push_source(session, tenant_id, name)
            rows = await documents.lock(session, source.source_id, [draft.external_id for draft in drafts])
            if repeated:
                return [rows[draft.external_id] for draft in drafts if draft.external_id in rows]
            steps = [self._shown(source, draft, rows.get(draft.external_id)) for draft in drafts]
            await self._write(session, steps, {source.source_id: source.name})
            await sources.remember(session, (tenant_id, "push", request_id), source.source_id, self._now())
        self._committed(steps)
        return [after for _, after in steps]

    async def delete(self, tenant_id: str, name: str, external_ids: Iterable[str]) -> int:
        """Record the deletion of pushed documents; return how many of them there were.

        Raises:
            SourceNotFound, NotAPushSource: there is nothing to delete from.
        """
        async with transaction(self._sessions) as session:
            source = await self._push_source(session, tenant_id, name)
            rows = await documents.lock(session, source.source_id, external_ids)
            steps = self._retired(rows.values())
            await self._write(session, steps, {source.source_id: source.name})
        self._committed(steps)
        return len(steps)

    async def delete_source(self, tenant_id: str, name: str) -> None:
        """Record the deletion of a source and of every document in it; a repeat changes nothing.

        Raises:
            SourceNotFound: the tenant has none.
        """
        done: list[Step] = []
        async with transaction(self._sessions) as session:
            source = await sources.find(session, tenant_id, name, lock=True)
            await sources.change(session, source.source_id, state=SourceState.DELETING)
            while rows := await documents.lock_present(session, source.source_id, BATCH):
                steps = self._retired(rows)
                await self._write(session, steps, {source.source_id: source.name})
                done += steps
            await sources.remove_emptied(session)
        self._committed(done)

    async def replay(self, source: Source) -> int:
        """Give every failed document whose content is kept to the index again; return how many."""
        done: list[Step] = []
        async with transaction(self._sessions) as session:
            if (await sources.get(session, source.source_id, lock=True)).state is SourceState.DELETING:
                return 0
            while rows := await documents.lock_replayable(session, source.source_id, BATCH):
                steps: list[Step] = [(row, self._replayed(row)) for row in rows]
                await self._write(session, steps, {source.source_id: source.name})
                done += steps
        self._committed(done)
        return sum(after.state is DocumentState.PENDING for _, after in done)

    async def doubt_failed(self, source: Source) -> set[str]:
        """Have the next sync read every failed document again; return the unread ones, see there."""
        async with transaction(self._sessions) as session:
            await documents.doubt_failed(session, source.source_id)
        return await self.unread(source)

    async def unread(self, source: Source) -> set[str]:
        """Return the ids of the documents that could not be read."""
        async with transaction(self._sessions) as session:
            return await documents.without_content(session, source.source_id)

    async def settle(self, reports: Sequence[Report]) -> list[tuple[Document, Source]]:
        """Note what the index reports; return the rows that it settled, as they were published."""
        async with transaction(self._sessions) as session:
            rows = await documents.lock_ids(session, sorted({report.document_id for report in reports}))
            owners = await sources.by_id(session, sorted({row.source_id for row in rows.values()}))
            settled = [(row, owners[row.source_id]) for row in rows.values()]
            steps, removed = self._settled(rows, reports)
            await self._write(session, steps, {source_id: source.name for source_id, source in owners.items()})
            await documents.remove(session, removed)
            if removed:
                await sources.remove_emptied(session)
        self._committed(steps)
        metrics.DOCUMENTS.labels("deleted").inc(len(removed))
        touched = {after.document_id for _, after in steps} | set(removed)
        return [(row, source) for row, source in settled if row.document_id in touched]

    async def renew(self, session: AsyncSession, document_ids: Sequence[str]) -> None:
        """Give documents to the index again in the caller's transaction, as new versions; see `renew`."""
        rows = await documents.lock_ids(session, document_ids)
        owners = await sources.by_id(session, sorted({row.source_id for row in rows.values()}))
        steps: list[Step] = [(row, renew(row, self._now())) for row in rows.values()]
        await self._write(session, steps, {source_id: source.name for source_id, source in owners.items()})

    async def republish(self, before: datetime, patience: timedelta, limit: int) -> int:
        """Give the log once more what the index should have answered, as long as `limit` are not in flight again."""
        async with transaction(self._sessions) as session:
            room = limit - await documents.count_in_flight(session, before, patience)
            rows = await documents.lock_overdue(session, before, patience, max(room, 0))
            owners = await sources.by_id(session, sorted({row.source_id for row in rows}))
            again = [republish(row, self._now()) for row in rows]
            await documents.save(session, again)
            await self._outbox.add(session, [changed_record(row, owners[row.source_id].name) for row in again])
        if rows:
            self._outbox.wake()
        return len(rows)

    async def outstanding(self, forget_before: datetime) -> tuple[int, datetime | None]:
        """Return the outbox's depth, and since when the oldest change waits; forget requests older than that."""
        async with transaction(self._sessions) as session:
            await sources.forget(session, forget_before)
            return await documents.outstanding(session)

    async def _push_source(self, session: AsyncSession, tenant_id: str, name: str) -> Source:
        source = await sources.find(session, tenant_id, name, lock=True)
        if source.state is SourceState.DELETING:
            raise SourceNotFound("the source is being deleted", source=source.name)
        if source.kind != PUSH:
            raise NotAPushSource("the source fills itself", source=source.name, kind=source.kind)
        return source

    def _changed(self, source: Source, change: Change, known: Document | None) -> Step | None:
        if change.version != (known.version if known else 0):
            return None
        if change.draft:
            return self._shown(source, change.draft, known)
        return (known, retire(known, self._now())) if known else None

    def _shown(self, source: Source, draft: Draft, known: Document | None) -> Step:
        now = self._now()
        if known:
            return known, revise(known, draft, now)
        row = Document(uuid4().hex, source.tenant_id, source.source_id, draft, 0, DocumentState.PENDING, now)
        return None, first(row)

    def _retired(self, rows: Iterable[Document]) -> list[Step]:
        return [(row, retire(row, self._now())) for row in rows if row.state != DocumentState.DELETING]

    def _replayed(self, row: Document) -> Document:
        if row.draft.size_bytes <= self._max_bytes:
            return replay(row, self._now())
        failure = Failure(DOCUMENT_TOO_LARGE, f"the document is over {self._max_bytes} bytes")
        return revise(row, replace(row.draft, blob_key="", content_digest="", failure=failure), self._now())

    def _settled(self, rows: Mapping[str, Document], reports: Iterable[Report]) -> tuple[list[Step], list[str]]:
        left: dict[str, Document | None] = dict(rows)
        for report in reports:
            if row := left.get(report.document_id):
                left[report.document_id] = settle(row, report, self._now())
        steps = [(rows[key], row) for key, row in left.items() if row is not None and row is not rows[key]]
        return list(steps), [key for key, row in left.items() if row is None]

    async def _write(self, session: AsyncSession, steps: Sequence[Step], names: Mapping[str, str]) -> None:
        await documents.save(session, [after for before, after in steps if after != before])
        news = [
            after for before, after in steps if after.awaiting and after.version != (before.version if before else 0)
        ]
        await self._outbox.add(session, [changed_record(row, names[row.source_id]) for row in news])

    def _committed(self, steps: Iterable[Step]) -> None:
        self._outbox.wake()
        for before, after in steps:
            if before is None or before.state != after.state:
                metrics.DOCUMENTS.labels(after.state.value).inc()
