"""Which indexes each tenant has now, as ingest says it and other services read it.

This is a contract between ingest, whose migrations make the view, and whoever writes or reads a
tenant's index; like services/common/placements.py it is read from PostgreSQL. When it cannot be
read, nothing is written and nothing is searched, for an index that was left is dropped.

`ingest.tenant_index` has a row (tenant_id, live, live_key, state, other, other_key, mirrored,
droppable) for each tenant that ever chose how its index is made; every other has one index, made as
the deployment's settings say. `live` and `other` are JSON of index_config.py. `mirrored` says that
what changes goes to the other index too. `droppable` says that nobody reads or writes that one.
"""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import asyncpg

from services.common.errors import Unavailable
from services.common.identity import Identity
from services.common.index_config import IndexConfig
from services.common.placements import CACHE_SECONDS, POOL_SIZE, TIMEOUT_SECONDS
from services.common.recent import Recent

# After a switch or a drop; see placements.py for why.
DROPPABLE_SECONDS = 8.0

_FIND = """
SELECT live, live_key, state, other, other_key, mirrored, droppable FROM ingest.tenant_index WHERE tenant_id = $1
"""


class IndexConfigUnavailable(Unavailable):
    """How the tenant's index is made cannot be looked up now, so it is neither read nor written."""

    reason = "INDEX_CONFIG_UNAVAILABLE"
    retry_seconds = 1.0


class IndexState(StrEnum):
    """What there is beside a tenant's live index; see tandem.ingest.v1.IndexState."""

    SETTLED = "settled"
    BUILDING = "building"
    READY = "ready"
    KEPT = "kept"
    DROPPING = "dropping"


@dataclass(frozen=True, slots=True)
class Made:
    """An index: how it is made, and what tells it from the tenant's others."""

    config: IndexConfig
    key: str


@dataclass(frozen=True, slots=True)
class TenantIndex:
    """A tenant's indexes: searches use `live`, which is the deployment's where it is None; see above."""

    live: Made | None = None
    state: IndexState = IndexState.SETTLED
    other: Made | None = None
    mirrored: bool = False
    droppable: bool = False

    @property
    def second(self) -> Made | None:
        """The index that changes must reach too."""
        return self.other if self.mirrored else None


class TenantIndexes:
    """Looks up which indexes a tenant has; an answer counts for half a second."""

    def __init__(self, pool: Any, cache_seconds: float = CACHE_SECONDS) -> None:
        self._pool = pool
        self._recent = Recent(self._find, cache_seconds)

    async def ping(self) -> None:
        """Raise IndexConfigUnavailable unless the database answers and has the view."""
        await self._find("")

    async def of(self, identity: Identity) -> TenantIndex:
        """Return the tenant's indexes, as they were at most half a second ago.

        Raises:
            IndexConfigUnavailable: the database does not answer.
        """
        return await self._recent.get(identity.tenant_id)

    async def now(self, identity: Identity) -> TenantIndex:
        """Return the tenant's indexes at this moment.

        Raises:
            IndexConfigUnavailable: the database does not answer.
        """
        return await self._find(identity.tenant_id)

    async def _find(self, tenant_id: str) -> TenantIndex:
        try:
            row = await self._pool.fetchrow(_FIND, tenant_id, timeout=TIMEOUT_SECONDS)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise IndexConfigUnavailable("how the tenant's index is made cannot be looked up") from error
        if row is None:
            return TenantIndex()
        return TenantIndex(
            live=_made(row["live"], row["live_key"]),
            state=IndexState(row["state"]),
            other=_made(row["other"], row["other_key"]),
            mirrored=row["mirrored"],
            droppable=row["droppable"],
        )


@contextlib.asynccontextmanager
async def open_indexes(url: str) -> AsyncIterator[TenantIndexes]:
    """Give the indexes in the database at `url`, which is SQLAlchemy's, with the asyncpg driver.

    The database need not be there yet.
    """
    async with asyncpg.create_pool(url.replace("+asyncpg", "", 1), min_size=0, max_size=POOL_SIZE) as pool:
        yield TenantIndexes(pool)


def _made(config: str, key: str) -> Made | None:
    return Made(IndexConfig.from_json(config), key) if key else None
