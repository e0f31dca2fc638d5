"""The rows of `ingest.reader_sets`: readers that are too many for the index, each set kept once."""

import hashlib
from collections.abc import Iterable
from functools import lru_cache

from sqlalchemy import func, literal, select, text
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.types import String

from services.common.permissions import SET_PREFIX
from services.ingest.adapters.tables import READER_SETS
from services.ingest.domain import MAX_INLINE_READERS

Set = tuple[str, str]  # a tenant, and a set's id

# Goes from set to set, not from member to member.
_UNUSED = text("""
WITH RECURSIVE found AS (
  (SELECT tenant_id, set_id FROM ingest.reader_sets ORDER BY tenant_id, set_id LIMIT 1)
  UNION ALL
  SELECT following.tenant_id, following.set_id FROM found, LATERAL (
    SELECT tenant_id, set_id FROM ingest.reader_sets
    WHERE (tenant_id, set_id) > (found.tenant_id, found.set_id) ORDER BY tenant_id, set_id LIMIT 1
  ) AS following
)
SELECT tenant_id, set_id FROM found WHERE NOT EXISTS (
  SELECT FROM ingest.documents
  WHERE documents.tenant_id = found.tenant_id AND documents.reader_set = found.set_id AND documents.reader_set <> ''
)
""")
_REMOVE = text("""
DELETE FROM ingest.reader_sets WHERE tenant_id = :tenant_id AND set_id = :set_id AND NOT EXISTS (
  SELECT FROM ingest.documents WHERE tenant_id = :tenant_id AND reader_set = :set_id AND reader_set <> ''
)
""")


# A source's documents share one tuple of readers: it is hashed once, not once a document.
@lru_cache(maxsize=16)
def set_of(readers: tuple[str, ...]) -> str:
    """Return the id of the set that readers are, or "" where the index keeps each of them."""
    distinct = set(readers)
    if len(distinct) <= MAX_INLINE_READERS:
        return ""
    return hashlib.sha256("\0".join(sorted(distinct)).encode()).hexdigest()


def as_indexed(readers: tuple[str, ...]) -> tuple[str, ...]:
    """Return readers as the index keeps them."""
    set_id = set_of(readers)
    return (SET_PREFIX + set_id,) if set_id else readers


async def keep(session: AsyncSession, tenant_id: str, lists: Iterable[tuple[str, ...]]) -> None:
    """Keep those of a tenant's lists of readers that are sets; until the commit, none of them is removed."""
    sets = {set_id: readers for readers in lists if (set_id := set_of(readers))}
    for set_id in sorted(sets):
        await session.execute(select(func.pg_advisory_xact_lock_shared(_lock_of((tenant_id, set_id)))))
        if not await _is_kept(session, (tenant_id, set_id)):
            members = func.unnest(literal(list(set(sets[set_id])), ARRAY(String)))
            rows = select(literal(tenant_id), literal(set_id), members)
            statement = insert(READER_SETS).from_select(["tenant_id", "set_id", "member"], rows)
            await session.execute(statement.on_conflict_do_nothing())


async def unused(session: AsyncSession) -> set[Set]:
    """Return the sets that no document refers to."""
    return {(row.tenant_id, row.set_id) for row in await session.execute(_UNUSED)}


async def remove(session: AsyncSession, one: Set) -> int:
    """Remove a set unless a document refers to it, or is being given it; return how many members it had."""
    free = await session.execute(select(func.pg_try_advisory_xact_lock(_lock_of(one))))
    if not free.scalar_one():
        return 0
    result = await session.execute(_REMOVE, {"tenant_id": one[0], "set_id": one[1]})
    return result.rowcount  # type: ignore[attr-defined,no-any-return]


async def _is_kept(session: AsyncSession, one: Set) -> bool:
    columns = READER_SETS.c
    query = select(columns.set_id).where(columns.tenant_id == one[0], columns.set_id == one[1]).limit(1)
    return (await session.execute(query)).first() is not None


def _lock_of(one: Set) -> int:
    digest = hashlib.sha256(f"reader_sets/{one[0]}/{one[1]}".encode()).digest()
    return int.from_bytes(digest[:8], signed=True)
