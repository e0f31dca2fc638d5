"""What the schema `ingest` has of a person, or of a whole tenant, inside the caller's transaction."""

from collections.abc import Collection, Sequence

from sqlalchemy import ColumnElement, Table, delete, distinct, func, literal, or_, select, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.types import LargeBinary, String

from services.common.identity import Identity
from services.ingest.adapters import documents, sources
from services.ingest.adapters.tables import (
    BLOBS,
    BUILDS,
    COPIES,
    DOCUMENTS,
    OUTBOX,
    PLACEMENTS,
    READER_SETS,
    REQUESTS,
    SECRETS,
    SOURCES,
    TENANT_INDEXES,
)
from services.ingest.domain import Document, DocumentState, Source, SourceState

COLUMNS = DOCUMENTS.c
PRESENT = COLUMNS.state != DocumentState.DELETING

Principals = Sequence[str]


async def sources_of(session: AsyncSession, identity: Identity, person: Principals | None) -> list[Source]:
    """Return and lock the sources that a person made or may read, not being deleted; None is everybody."""
    wanted = (SOURCES.c.tenant_id == identity.tenant_id) & (SOURCES.c.state != SourceState.DELETING)
    if person is not None:
        wanted &= SOURCES.c.owner.in_(person) | SOURCES.c.readers.overlap(_array(person))
    return await sources.lock_all(session, wanted)


async def disown(session: AsyncSession, source: Source, person: Principals) -> None:
    """Take a source, and what follows it, from the person who made it."""
    await sources.change(session, source.source_id, owner="")
    theirs = (COLUMNS.source_id == source.source_id) & COLUMNS.follows_source & COLUMNS.owner.in_(person)
    await session.execute(update(DOCUMENTS).where(theirs).values(owner=""))


async def lock_theirs(session: AsyncSession, identity: Identity, person: Principals, limit: int) -> list[Document]:
    """Return and lock documents that a person brought, or that nobody else may read."""
    alone = COLUMNS.readers.contained_by(_array(person)) & (func.cardinality(COLUMNS.readers) > 0)
    return await documents.lock_where(session, _of(identity) & PRESENT & (COLUMNS.owner.in_(person) | alone), limit)


async def lock_read(session: AsyncSession, identity: Identity, person: Principals, limit: int) -> list[Document]:
    """Return and lock documents that a person may read."""
    read = COLUMNS.readers.overlap(_array(person))
    return await documents.lock_where(session, _of(identity) & PRESENT & read, limit)


async def only_in(session: AsyncSession, rows: Collection[Document]) -> int:
    """Return how many contents only these documents, or others that go too, refer to."""
    keys = {key for row in rows for key in row.contents}
    ids = [row.document_id for row in rows]
    query = select(COLUMNS.blob_key).where(COLUMNS.blob_key.in_(keys), PRESENT, COLUMNS.document_id.not_in(ids))
    return len(keys - set((await session.execute(query)).scalars()))


async def size_of(session: AsyncSession, source: Source) -> dict[str, int]:
    """Return how much a source has that is not being deleted, by kind."""
    mine = (COLUMNS.source_id == source.source_id) & PRESENT
    others = select(COLUMNS.blob_key).where(COLUMNS.source_id != source.source_id, PRESENT)
    alone = COLUMNS.blob_key.not_in(others.where(_of_tenant(source.tenant_id))) & (COLUMNS.blob_key != "")
    query = select(
        func.count(),
        func.coalesce(func.sum(COLUMNS.chunk_count), 0),
        func.count(distinct(COLUMNS.blob_key)).filter(alone),
    ).where(mine)
    rows, chunks, contents = (await session.execute(query)).one()
    return {"documents": rows, "chunks": chunks, "blobs": contents}


async def sources_by_id(session: AsyncSession, rows: Collection[Document]) -> dict[str, Source]:
    """Return the sources of documents, by id."""
    return await sources.by_id(session, sorted({row.source_id for row in rows}))


async def has_documents(session: AsyncSession, identity: Identity) -> bool:
    """Return whether a tenant has documents, those being deleted too."""
    return (await session.execute(select(COLUMNS.document_id).where(_of(identity)).limit(1))).first() is not None


async def left_of(session: AsyncSession, identity: Identity, person: Principals) -> int:
    """Return how much there still is of a person, here or, as far as is known here, in the index."""
    read = COLUMNS.readers.overlap(_array(person))
    owed = COLUMNS.narrowed_at.is_not(None)
    theirs = _of(identity) & or_(COLUMNS.owner.in_(person), read, owed)
    members = (READER_SETS.c.tenant_id == identity.tenant_id) & READER_SETS.c.member.in_(person)
    return await _count(session, DOCUMENTS, theirs) + await _count(session, READER_SETS, members)


async def left_in(session: AsyncSession, identity: Identity) -> int:
    """Return how many rows there still are of a tenant."""
    tables = (SOURCES, DOCUMENTS, REQUESTS, READER_SETS, SECRETS, BLOBS, COPIES, PLACEMENTS, BUILDS, TENANT_INDEXES)
    counts = [await _count(session, table, table.c.tenant_id == identity.tenant_id) for table in tables]
    return sum(counts) + await _count(session, OUTBOX, _records_of(identity))


async def remove_rest(session: AsyncSession, identity: Identity) -> dict[str, int]:
    """Remove what a tenant without documents has; return how many of each kind."""
    removed = {}
    for kind, table in (("secrets", SECRETS), ("requests", REQUESTS), ("reader_sets", READER_SETS)):
        result = await session.execute(delete(table).where(table.c.tenant_id == identity.tenant_id))
        removed[kind] = result.rowcount  # type: ignore[attr-defined]
    for table in (COPIES, PLACEMENTS, BUILDS, TENANT_INDEXES):
        await session.execute(delete(table).where(table.c.tenant_id == identity.tenant_id))
    await session.execute(delete(OUTBOX).where(_records_of(identity)))
    await sources.remove_emptied(session)
    return removed


def _of(identity: Identity) -> ColumnElement[bool]:
    return _of_tenant(identity.tenant_id)


def _of_tenant(tenant_id: str) -> ColumnElement[bool]:
    return COLUMNS.tenant_id == tenant_id


def _array(person: Principals) -> ColumnElement[Sequence[str]]:
    return literal(list(person), ARRAY(String))


def _records_of(identity: Identity) -> ColumnElement[bool]:
    prefix = f"{identity.tenant_id}/".encode()
    return func.substring(OUTBOX.c.key, 1, len(prefix)) == literal(prefix, LargeBinary)


async def _count(session: AsyncSession, table: Table, where: ColumnElement[bool]) -> int:
    return (await session.execute(select(func.count()).select_from(table).where(where))).scalar_one()
