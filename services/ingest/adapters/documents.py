"""The rows of `ingest.documents`, inside the caller's transaction."""

import hashlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import fields
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, delete, exists, func, literal, or_, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from services.common.identity import Identity
from services.ingest.adapters.readers import set_of
from services.ingest.adapters.tables import DOCUMENTS, OUTBOX
from services.ingest.changes import Known
from services.ingest.domain import MAX_INLINE_READERS, Document, DocumentState, Draft, Failure, Source, Usage

COLUMNS = DOCUMENTS.c
MAX_DOUBLINGS = 5
# What of a draft is kept elsewhere, or not at all.
NOT_KEPT = frozenset({"failure", "blob_generation"})

Page = list[tuple[Document, int]]
# Of a source ("": of all), and in a state.
Scope = tuple[str, DocumentState | None]


async def known(session: AsyncSession, source_id: str, only: Collection[str] | None = None) -> dict[str, Known]:
    """Return what is known of a source's documents, or of those ("folder/": of all below it)."""
    query = select(
        COLUMNS.external_id, COLUMNS.version, COLUMNS.fingerprint, COLUMNS.content_digest, COLUMNS.state
    ).where(COLUMNS.source_id == source_id)
    if only is not None:
        query = query.where(_named(only))
    rows = await session.execute(query)
    return {
        row.external_id: Known(
            row.external_id,
            row.version,
            row.fingerprint,
            row.content_digest,
            gone=row.state == DocumentState.DELETING,
        )
        for row in rows
    }


async def lock(session: AsyncSession, source_id: str, external_ids: Iterable[str]) -> dict[str, Document]:
    """Return and lock a source's documents of those external ids."""
    keys = [_key_of(external_id) for external_id in external_ids]
    query = select(DOCUMENTS).where(COLUMNS.source_id == source_id, COLUMNS.external_key.in_(keys))
    return {document.draft.external_id: document for document in await _locked(session, query)}


async def lock_ids(session: AsyncSession, document_ids: Sequence[str]) -> dict[str, Document]:
    """Return and lock documents by their ids."""
    query = select(DOCUMENTS).where(COLUMNS.document_id.in_(document_ids))
    return {document.document_id: document for document in await _locked(session, query)}


async def lock_where(session: AsyncSession, wanted: ColumnElement[bool], limit: int) -> list[Document]:
    """Return and lock some of the documents that `wanted` says."""
    return await _locked(session, select(DOCUMENTS).where(wanted).limit(limit))


async def lock_present(session: AsyncSession, source_id: str, limit: int) -> list[Document]:
    """Return and lock documents of a source whose deletion is not recorded."""
    present = COLUMNS.state != DocumentState.DELETING
    return await _locked(session, select(DOCUMENTS).where(COLUMNS.source_id == source_id, present).limit(limit))


async def lock_following(session: AsyncSession, source: Source, limit: int) -> list[Document]:
    """Return and lock documents that follow their source, and are not read by its readers yet."""
    behind = COLUMNS.follows_source & (COLUMNS.state != DocumentState.DELETING)
    behind &= COLUMNS.readers != literal(list(source.readers), COLUMNS.readers.type)
    query = select(DOCUMENTS).where(COLUMNS.source_id == source.source_id, behind)
    return await _locked(session, query.limit(limit))


async def lock_cut(session: AsyncSession, source_id: str, after: str, limit: int) -> list[Document]:
    """Return and lock documents of a source that the index has, or will have, by id: those after `after`."""
    cut = COLUMNS.state.in_((DocumentState.PENDING, DocumentState.INDEXED)) & (COLUMNS.document_id > after)
    return await _locked(session, select(DOCUMENTS).where(COLUMNS.source_id == source_id, cut).limit(limit))


async def lock_replayable(session: AsyncSession, source_id: str, limit: int) -> list[Document]:
    """Return and lock failed documents of a source whose content is kept."""
    return await lock_where(session, (COLUMNS.source_id == source_id) & _replayable(), limit)


async def lock_failed(session: AsyncSession, tenant_id: str, limit: int) -> list[Document]:
    """Return and lock failed documents of a tenant whose content is kept."""
    return await lock_where(session, (COLUMNS.tenant_id == tenant_id) & _replayable(), limit)


async def without_content(session: AsyncSession, source_id: str) -> set[str]:
    """Return the ids of a source's documents that could not be read."""
    query = select(COLUMNS.document_id).where(COLUMNS.source_id == source_id, COLUMNS.content_digest == "")
    rows = await session.execute(query)
    return set(rows.scalars())


async def doubt_failed(session: AsyncSession, source_id: str) -> None:
    """Forget how a source's failed documents looked."""
    failed = (COLUMNS.source_id == source_id) & (COLUMNS.state == DocumentState.FAILED)
    await session.execute(update(DOCUMENTS).where(failed).values(fingerprint=""))


async def lock_overdue(session: AsyncSession, before: datetime, patience: timedelta, limit: int) -> list[Document]:
    """Return and lock the documents whose change was published before then, and long enough ago, the oldest first.

    Each waits twice as long as the time before; one that is in the outbox waits for the relay.
    """
    key = func.convert_to(COLUMNS.tenant_id.concat("/").concat(COLUMNS.document_id), "UTF8")
    queued = exists().where(OUTBOX.c.key == key)
    query = (
        select(DOCUMENTS)
        .where(COLUMNS.awaiting, _overdue(before, patience), ~queued)
        .order_by(COLUMNS.published_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return [_document_of(row) for row in await session.execute(query)]


async def count_in_flight(session: AsyncSession, before: datetime, patience: timedelta) -> int:
    """Return how many documents were published again and may still be answered."""
    query = select(func.count()).where(COLUMNS.awaiting, COLUMNS.publications > 1, ~_overdue(before, patience))
    return (await session.execute(query)).scalar_one()


def _replayable() -> ColumnElement[bool]:
    return (COLUMNS.state == DocumentState.FAILED) & (COLUMNS.content_digest != "")


def _overdue(before: datetime, patience: timedelta) -> ColumnElement[bool]:
    doublings = func.least(COLUMNS.publications - 1, MAX_DOUBLINGS)
    seconds = func.extract("epoch", literal(before) - COLUMNS.published_at)
    return seconds > patience.total_seconds() * (func.power(2, doublings) - 1)


async def save(session: AsyncSession, documents: Sequence[Document]) -> None:
    """Write rows, new ones and others."""
    if not documents:
        return
    statement = insert(DOCUMENTS)
    new = {column.name: statement.excluded[column.name] for column in COLUMNS if column.name != "document_id"}
    await session.execute(
        statement.on_conflict_do_update(index_elements=[COLUMNS.document_id], set_=new), [*map(_row_of, documents)]
    )


async def remove(session: AsyncSession, document_ids: Sequence[str]) -> None:
    """Remove rows."""
    if document_ids:
        await session.execute(delete(DOCUMENTS).where(COLUMNS.document_id.in_(document_ids)))


async def page(session: AsyncSession, identity: Identity, scope: Scope, after: tuple[str, str], limit: int) -> Page:
    """Return a tenant's documents by external id and id, those after `after`.

    Each has its first readers alone, and how many there are of them.
    """
    source_id, state = scope
    query = _shown().where(
        COLUMNS.tenant_id == identity.tenant_id, tuple_(COLUMNS.external_id, COLUMNS.document_id) > tuple_(*after)
    )
    if source_id:
        query = query.where(COLUMNS.source_id == source_id)
    if state:
        query = query.where(COLUMNS.state == state)
    query = query.order_by(COLUMNS.external_id, COLUMNS.document_id).limit(limit)
    return [(_document_of(row), row.reader_count) for row in await session.execute(query)]


async def latest_failures(session: AsyncSession, source_id: str, limit: int) -> Page:
    """Return a source's failed documents, newest first, as `page` does."""
    query = (
        _shown()
        .where(COLUMNS.source_id == source_id, COLUMNS.state == DocumentState.FAILED)
        .order_by(COLUMNS.recorded_at.desc(), COLUMNS.document_id)
        .limit(limit)
    )
    return [(_document_of(row), row.reader_count) for row in await session.execute(query)]


async def outstanding(session: AsyncSession) -> tuple[int, datetime | None]:
    """Return the outbox's depth, and since when the oldest unanswered change waits."""
    depth = select(func.count()).select_from(OUTBOX).scalar_subquery()
    oldest = select(func.min(COLUMNS.recorded_at)).where(COLUMNS.awaiting).scalar_subquery()
    row = (await session.execute(select(depth, oldest))).one()
    return row[0], row[1]


async def usage(session: AsyncSession, tenant_id: str) -> Usage:
    """Return what a tenant's documents take up; what was refused takes nothing."""
    kept = (COLUMNS.tenant_id == tenant_id) & (COLUMNS.state != DocumentState.DELETING) & (COLUMNS.content_digest != "")
    query = select(func.count(), func.coalesce(func.sum(COLUMNS.size_bytes), 0)).where(kept)
    count, size = (await session.execute(query)).one()
    return Usage(count, int(size))


def _shown() -> Select[Any]:
    readers = COLUMNS.readers[1:MAX_INLINE_READERS].label("readers")
    others = [column for column in COLUMNS if column.name != "readers"]
    return select(*others, readers, func.cardinality(COLUMNS.readers).label("reader_count"))


async def _locked(session: AsyncSession, query: Select[Any]) -> list[Document]:
    # Always in one order, so that no two transactions wait for each other.
    rows = await session.execute(query.order_by(COLUMNS.document_id).with_for_update())
    return [_document_of(row) for row in rows]


def _named(only: Collection[str]) -> ColumnElement[bool]:
    keys = [_key_of(name) for name in only if not name.endswith("/")]
    folders = [COLUMNS.external_id.startswith(name, autoescape=True) for name in only if name.endswith("/")]
    return or_(COLUMNS.external_key.in_(keys), *folders)


def _key_of(external_id: str) -> str:
    return hashlib.sha256(external_id.encode()).hexdigest()


def _row_of(document: Document) -> dict[str, object]:
    draft = document.draft
    values = {item.name: getattr(document, item.name) for item in fields(Document) if item.name != "draft"}
    values |= {item.name: getattr(draft, item.name) for item in fields(Draft) if item.name not in NOT_KEPT}
    return values | {
        "external_key": _key_of(draft.external_id),
        "failure_reason": draft.failure.reason if draft.failure else "",
        "failure_message": draft.failure.message if draft.failure else "",
        "readers": list(draft.readers),
        "reader_set": set_of(draft.readers),
        "former_blobs": list(document.former_blobs),
        "metadata": dict(draft.metadata),
    }


def _document_of(row: Row[Any]) -> Document:
    values = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it
    failure = Failure(row.failure_reason, row.failure_message) if row.failure_reason else None
    draft = {item.name: values[item.name] for item in fields(Draft) if item.name not in NOT_KEPT}
    rest = {item.name: values[item.name] for item in fields(Document) if item.name != "draft"}
    return Document(
        draft=Draft(**draft | {"readers": tuple(draft["readers"]), "failure": failure}),
        **rest | {"state": DocumentState(row.state), "former_blobs": tuple(row.former_blobs)},
    )
