"""Every write to the manifest: rows and the records that tell of them, in one transaction."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from uuid import uuid4

from sqlalchemy.ext.asyncio import AsyncSession

from services.common.database import Sessions
from services.common.identity import Identity
from services.common.quotas import TenantQuotas
from services.ingest import metrics
from services.ingest.adapters import documents, indexes, sources
from services.ingest.adapters.postgres import transaction
from services.ingest.changes import Change, Known, Tally, outcome_of
from services.ingest.domain import (
    DOCUMENT_TOO_LARGE,
    QUOTA_EXCEEDED,
    Chunking,
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
from services.ingest.errors import SourceNotFound, SourceNotSyncable
from services.ingest.room import Room, room_of
from services.ingest.steps import Step, Steps

BATCH = 1000

Request = tuple[str, str]  # a source's id or name, and a request id or ""


class Manifest:
    """What is known of every document. Acknowledged means committed, its record in the outbox."""

    def __init__(self, sessions: Sessions, steps: Steps, max_bytes: int, quotas: TenantQuotas | None = None) -> None:
        self._sessions = sessions
        self._steps = steps
        self._max_bytes = max_bytes
        self._quotas = quotas or TenantQuotas()

    async def known(self, source_id: str, only: Iterable[str] | None = None) -> dict[str, Known]:
        """Return what is known of a source's documents; see Connector.scan for `only`."""
        async with transaction(self._sessions) as session:
            return await documents.known(session, source_id, None if only is None else list(only))

    async def record(self, source_id: str, changes: Sequence[Change]) -> Tally:
        """Record what a sync found; of what was changed meanwhile, nothing.

        A document that the tenant has no room for is recorded as failed.

        Raises:
            SourceNotSyncable, SourceNotFound: it was paused or deleted meanwhile.
            ContentsUnavailable: a content has gone since it was put.
        """
        received_at = self._steps.now()
        async with transaction(self._sessions) as session:
            source = await sources.get(session, source_id, lock=True)
            if source.state is not SourceState.ACTIVE:
                raise SourceNotSyncable("the source is not active", source=source.name, state=source.state)
            room = await room_of(session, source.tenant_id, self._quotas.of(source.tenant_id))
            rows = await documents.lock(session, source_id, [change.external_id for change in changes])
            found = (self._changed(source, change, rows.get(change.external_id)) for change in changes)
            steps = [self._fitted(room, step) for step in found if step]
            await self._steps.write(session, steps, {source_id: source})
        self._steps.committed(steps, received_at)
        return sum((outcome_of(*step) for step in steps), Tally())

    async def push(
        self, identity: Identity, request: Request, drafts: Sequence[Draft], received_at: datetime | None = None
    ) -> list[Document]:
        """Record documents whose contents are stored, and return their rows in order.

        A request that was served before changes nothing.

        Raises:
            SourceNotFound, NotAPushSource: there is nowhere to put them.
            QuotaExceeded: the tenant has no room for them.
            ContentsUnavailable: a content has gone since it was put; a repeat puts it again.
        """
        name, request_id = request
        async with transaction(self._sessions) as session:
            repeated = await sources.served(session, identity, "push", request_id)
            source = await sources.find_push(session, identity, name)
            room = await room_of(session, identity.tenant_id, self._quotas.of(identity.tenant_id))
            rows = await documents.lock(session, source.source_id, [draft.external_id for draft in drafts])
            if repeated:
                return [rows[draft.external_id] for draft in drafts if draft.external_id in rows]
            steps = [self._shown(source, draft, rows.get(draft.external_id)) for draft in drafts]
            for step in steps:
                if refusal := room.take(*step):
                    raise refusal
            await self._steps.write(session, steps, {source.source_id: source})
            await sources.remember(session, identity, ("push", request_id), source.source_id, self._steps.now())
        self._steps.committed(steps, received_at)
        return [after for _, after in steps]

    async def delete(self, identity: Identity, name: str, external_ids: Iterable[str]) -> int:
        """Record the deletion of pushed documents; return how many of them there were.

        Raises:
            SourceNotFound, NotAPushSource: there is nothing to delete from.
        """
        received_at = self._steps.now()
        async with transaction(self._sessions) as session:
            source = await sources.find_push(session, identity, name)
            rows = await documents.lock(session, source.source_id, external_ids)
            steps = self._steps.retired(rows.values())
            await self._steps.write(session, steps, {source.source_id: source})
        self._steps.committed(steps, received_at)
        return len(steps)

    async def delete_source(self, identity: Identity, name: str) -> None:
        """Record the deletion of a source and of every document in it; a repeat changes nothing.

        Raises:
            SourceNotFound: the tenant has none.
        """
        received_at, done = self._steps.now(), list[Step]()
        async with transaction(self._sessions) as session:
            source = await sources.find(session, identity, name, lock=True)
            await sources.change(session, source.source_id, state=SourceState.DELETING)
            while rows := await documents.lock_present(session, source.source_id, BATCH):
                steps = self._steps.retired(rows)
                await self._steps.write(session, steps, {source.source_id: source})
                done += steps
            await sources.remove_emptied(session)
        self._steps.committed(done, received_at)

    async def replay(self, source: Source) -> int:
        """Give every failed document whose content is kept to the index again; return how many."""
        done: list[Step] = []
        async with transaction(self._sessions) as session:
            if (await sources.get(session, source.source_id, lock=True)).state is SourceState.DELETING:
                return 0
            while rows := await documents.lock_replayable(session, source.source_id, BATCH):
                steps: list[Step] = [(row, self._replayed(row)) for row in rows]
                await self._steps.write(session, steps, {source.source_id: source})
                done += steps
        self._steps.committed(done)
        return sum(after.state is DocumentState.PENDING for _, after in done)

    async def set_chunking(self, identity: Identity, name: str, chunking: Chunking) -> int:
        """Set how a source's documents are cut, and give them to the index again; return how many they are.

        Raises:
            SourceNotFound: the tenant has none, or it is being deleted.
        """
        done: list[Step] = []
        async with transaction(self._sessions) as session:
            source = await sources.find(session, identity, name, lock=True)
            if source.state is SourceState.DELETING:
                raise SourceNotFound("the source is being deleted", source=source.name)
            if source.chunking == chunking:
                return 0
            source = replace(source, chunking=chunking)
            await sources.change(session, source.source_id, chunking=asdict(chunking))
            after = ""
            while rows := await documents.lock_cut(session, source.source_id, after, BATCH):
                steps: list[Step] = [(row, renew(row, self._steps.now())) for row in rows]
                await self._steps.write(session, steps, {source.source_id: source})
                done += steps
                after = rows[-1].document_id
        self._steps.committed(done)
        return len(done)

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
            await indexes.hold(session, reports)
            rows = await documents.lock_ids(session, sorted({report.document_id for report in reports}))
            owners = await sources.by_id(session, sorted({row.source_id for row in rows.values()}))
            settled = [(row, owners[row.source_id]) for row in rows.values()]
            steps, removed = self._settled(rows, reports)
            await self._steps.write(session, steps, owners, [rows[key] for key in removed])
            if removed:
                await sources.remove_emptied(session)
            await indexes.note(session, reports)
        self._steps.committed(steps)
        metrics.DOCUMENTS.labels("deleted").inc(len(removed))
        touched = {after.document_id for _, after in steps} | set(removed)
        return [(row, source) for row, source in settled if row.document_id in touched]

    async def renew(self, session: AsyncSession, document_ids: Sequence[str]) -> None:
        """Give documents to the index again in the caller's transaction, as new versions; see `renew`."""
        rows = await documents.lock_ids(session, document_ids)
        owners = await sources.by_id(session, sorted({row.source_id for row in rows.values()}))
        steps: list[Step] = [(row, renew(row, self._steps.now())) for row in rows.values()]
        await self._steps.write(session, steps, owners)

    async def repeat(self, session: AsyncSession, document_ids: Sequence[str]) -> None:
        """Give the log once more, in the caller's transaction, what documents are now: the index answers again."""
        rows = await documents.lock_ids(session, document_ids)
        present = [row for row in rows.values() if not row.withdrawn]
        owners = await sources.by_id(session, sorted({row.source_id for row in present}))
        await self._steps.publish(session, present, owners)

    async def replay_failed(self, session: AsyncSession, tenant_id: str) -> None:
        """Give a tenant's failed documents to the index again, where their contents are kept; see renew."""
        while rows := await documents.lock_failed(session, tenant_id, BATCH):
            owners = await sources.by_id(session, sorted({row.source_id for row in rows}))
            steps: list[Step] = [(row, self._replayed(row)) for row in rows]
            await self._steps.write(session, steps, owners)

    async def republish(self, before: datetime, patience: timedelta, limit: int) -> int:
        """Give the log once more what the index should have answered, as long as `limit` are not in flight again."""
        async with transaction(self._sessions) as session:
            room = limit - await documents.count_in_flight(session, before, patience)
            rows = await documents.lock_overdue(session, before, patience, max(room, 0))
            owners = await sources.by_id(session, sorted({row.source_id for row in rows}))
            again = [republish(row, self._steps.now()) for row in rows]
            await documents.save(session, again)
            await self._steps.publish(session, again, owners)
        if rows:
            self._steps.committed(())
        return len(rows)

    async def outstanding(self, forget_before: datetime) -> tuple[int, datetime | None]:
        """Return the outbox's depth, and since when the oldest change waits; forget requests older than that."""
        async with transaction(self._sessions) as session:
            await sources.forget(session, forget_before)
            return await documents.outstanding(session)

    def _changed(self, source: Source, change: Change, known: Document | None) -> Step | None:
        if change.version != (known.version if known else 0):
            return None
        if change.draft:
            return self._shown(source, change.draft, known)
        return (known, retire(known, self._steps.now())) if known else None

    def _shown(self, source: Source, draft: Draft, known: Document | None) -> Step:
        now = self._steps.now()
        if draft.follows_source:  # which may have other readers by now than when it was looked at
            draft = replace(draft, readers=source.readers)
        if known:
            return known, revise(known, draft, now)
        row = Document(uuid4().hex, source.tenant_id, source.source_id, draft, 0, DocumentState.PENDING, now)
        return None, first(row)

    def _fitted(self, room: Room, step: Step) -> Step:
        """Return a step, or the one that says that there is no room for it."""
        before, after = step
        if not (refusal := room.take(before, after)):
            return step
        failure = Failure(QUOTA_EXCEEDED, f"the tenant's quota of {refusal.quota} is used up")
        draft = replace(after.draft, blob_key="", content_digest="", failure=failure)
        now = self._steps.now()
        if before:
            return before, revise(before, draft, now)
        return None, first(replace(after, draft=draft, version=0, awaiting=False, published_at=None, publications=0))

    def _replayed(self, row: Document) -> Document:
        if row.draft.size_bytes <= self._max_bytes:
            return replay(row, self._steps.now())
        failure = Failure(DOCUMENT_TOO_LARGE, f"the document is over {self._max_bytes} bytes")
        return revise(row, replace(row.draft, blob_key="", content_digest="", failure=failure), self._steps.now())

    def _settled(self, rows: Mapping[str, Document], reports: Iterable[Report]) -> tuple[list[Step], list[str]]:
        left: dict[str, Document | None] = dict(rows)
        for report in reports:
            if row := left.get(report.document_id):
                left[report.document_id] = settle(row, report, self._steps.now())
        steps = [(rows[key], row) for key, row in left.items() if row is not None and row is not rows[key]]
        return list(steps), [key for key, row in left.items() if row is None]
