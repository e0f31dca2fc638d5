"""The rows of `ingest.blobs`: one for each content in the blob store, so that none is removed that is needed.

A content's row is committed before the content is put. The transaction that records documents locks the
rows of their contents, and refuses where one has gone, is doubted, or is of another generation than the one
that was put. What may be needed no more is doubted in the transaction that made it so; whoever removes it
holds its row from the look at the documents to the commit.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime

from sqlalchemy import ColumnElement, case, delete, exists, func, literal_column, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from services.ingest.adapters.tables import BLOBS, DOCUMENTS
from services.ingest.errors import ContentsUnavailable

COLUMNS = BLOBS.c
_NEXT_GENERATION: ColumnElement[int] = literal_column("nextval(pg_get_serial_sequence('ingest.blobs', 'generation'))")


async def announce(session: AsyncSession, tenant_id: str, sizes: Mapping[str, int], now: datetime) -> dict[str, int]:
    """Note contents that are about to be put, by key; return each one's generation."""
    rows = [
        {"blob_key": key, "tenant_id": tenant_id, "size_bytes": sizes[key], "doubted": False, "put_at": now}
        for key in sorted(sizes)
    ]
    generation = case((COLUMNS.doubted, _NEXT_GENERATION), else_=COLUMNS.generation)
    again = {"doubted": False, "put_at": now, "generation": generation}
    # Waits for whoever is removing one of them, and then finds that it is new.
    statement = insert(BLOBS).values(rows).on_conflict_do_update(index_elements=[COLUMNS.blob_key], set_=again)
    found = await session.execute(statement.returning(COLUMNS.blob_key, COLUMNS.generation))
    return {row.blob_key: row.generation for row in found}


async def refer(session: AsyncSession, needed: Mapping[str, int], left: Collection[str]) -> None:
    """Hold the contents that documents are to refer to, by key and generation, and doubt those that they leave.

    Raises:
        ContentsUnavailable: a content was removed since it was put, or may be; a repeat puts it again.
    """
    left = set(left) - needed.keys()
    if not needed and not left:
        return
    # In one order, so that no two transactions wait for each other.
    query = select(BLOBS).where(COLUMNS.blob_key.in_({*needed, *left})).order_by(COLUMNS.blob_key).with_for_update()
    rows = {row.blob_key: (row.generation, row.doubted) for row in await session.execute(query)}
    if any(rows.get(key) != (generation, False) for key, generation in needed.items()):
        raise ContentsUnavailable("a content was removed meanwhile; send it again")
    if left:
        await session.execute(update(BLOBS).where(COLUMNS.blob_key.in_(left)).values(doubted=True))


async def take_doubted(session: AsyncSession, tenant_id: str, limit: int) -> list[str]:
    """Return and lock the keys of contents that may be needed no more, of a tenant ("": of all)."""
    query = select(COLUMNS.blob_key).where(COLUMNS.doubted)
    if tenant_id:
        query = query.where(COLUMNS.tenant_id == tenant_id)
    query = query.order_by(COLUMNS.blob_key).limit(limit).with_for_update(skip_locked=True)
    return list((await session.execute(query)).scalars())


async def needed(session: AsyncSession, keys: Collection[str]) -> set[str]:
    """Return those of the contents that documents refer to, or the index may still read."""
    columns = DOCUMENTS.c
    query = select(columns.blob_key, columns.former_blobs).where(
        or_(columns.blob_key.in_(keys), columns.former_blobs.overlap(list(keys)))
    )
    return {key for row in await session.execute(query) for key in (row.blob_key, *row.former_blobs)} & set(keys)


async def trust(session: AsyncSession, keys: Collection[str]) -> None:
    """Doubt contents no more."""
    await session.execute(update(BLOBS).where(COLUMNS.blob_key.in_(keys)).values(doubted=False))


async def remove(session: AsyncSession, keys: Collection[str]) -> None:
    """Remove the rows of contents that are removed."""
    await session.execute(delete(BLOBS).where(COLUMNS.blob_key.in_(keys)))


async def doubt_orphans(session: AsyncSession, before: datetime, tenant_id: str = "") -> None:
    """Doubt the contents put before then that no document refers to, of a tenant ("": of all)."""
    orphan = ~exists().where(DOCUMENTS.c.blob_key == COLUMNS.blob_key) & ~COLUMNS.doubted & (COLUMNS.put_at < before)
    statement = update(BLOBS).where(orphan).values(doubted=True)
    await session.execute(statement.where(COLUMNS.tenant_id == tenant_id) if tenant_id else statement)


async def doubt_strays(session: AsyncSession, tenant_id: str, keys: Iterable[str], now: datetime) -> None:
    """Doubt what lies in the store under these keys and has no row."""
    rows = [
        {"blob_key": key, "tenant_id": tenant_id, "size_bytes": 0, "doubted": True, "put_at": now}
        for key in sorted(keys)
    ]
    if rows:
        await session.execute(insert(BLOBS).on_conflict_do_nothing(), rows)


async def count(session: AsyncSession, tenant_id: str) -> int:
    """Return how many contents of a tenant are noted."""
    query = select(func.count()).select_from(BLOBS).where(COLUMNS.tenant_id == tenant_id)
    return (await session.execute(query)).scalar_one()


async def count_doubted(session: AsyncSession, tenant_id: str) -> int:
    """Return how many contents of a tenant may be needed no more, and are not removed yet."""
    query = select(func.count()).select_from(BLOBS).where(COLUMNS.tenant_id == tenant_id, COLUMNS.doubted)
    return (await session.execute(query)).scalar_one()
