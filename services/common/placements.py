"""Where each tenant's index and engine are now, as ingest says it and other services read it.

This is a contract between ingest, whose migrations make the view, and whoever writes or reads a
tenant's index. As in services/common/permissions.py it is read from PostgreSQL: neither a search
nor a write may wait for ingest. When it cannot be read, nothing is written and nothing is
searched, for a place that a tenant has left is emptied.

`ingest.tenant_placements` has a row (tenant_id, place, state, other_place, mirrored, emptiable)
for each tenant that ever moved. `mirrored` says that what changes goes to `other_place` too:
searches read it after the move, or may still read it. `emptiable` says that nobody does.
"""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import asyncpg

from services.common.errors import Unavailable
from services.common.identity import Identity
from services.common.recent import Recent
from services.common.settings import SHARED

POOL_SIZE = 4
TIMEOUT_SECONDS = 5.0
# How long a service may go by what it read.
CACHE_SECONDS = 0.5
# After a turn: searches that began before it are done (five seconds, see retrieve), so nobody reads what was left.
LEFT_SECONDS = 6.0
# And then: writers have stopped too, so that nobody makes again what is removed.
EMPTIABLE_SECONDS = 8.0

_FIND = "SELECT place, state, other_place, mirrored, emptiable FROM ingest.tenant_placements WHERE tenant_id = $1"


class PlacementUnavailable(Unavailable):
    """Where the tenant's index is cannot be looked up now, so it is neither read nor written."""

    reason = "PLACEMENT_UNAVAILABLE"
    retry_seconds = 1.0


class PlaceUnknown(Unavailable):
    """The tenant is in a place that this service's settings do not name."""

    reason = "PLACE_UNKNOWN"


class MoveState(StrEnum):
    """How far a tenant's move has come; see tandem.ingest.v1.MoveState."""

    SETTLED = "settled"
    COPYING = "copying"
    EMPTYING = "emptying"


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a tenant is: searches use `place`, and changes go to `other_place` too while `mirrored`."""

    place: str = SHARED
    state: MoveState = MoveState.SETTLED
    other_place: str = ""
    mirrored: bool = False
    emptiable: bool = False


class Placements:
    """Looks up where a tenant is; an answer counts for half a second."""

    def __init__(self, pool: Any, cache_seconds: float = CACHE_SECONDS) -> None:
        self._pool = pool
        self._recent = Recent(self._find, cache_seconds)

    async def ping(self) -> None:
        """Raise PlacementUnavailable unless the database answers and has the view."""
        await self._find("")

    async def of(self, identity: Identity) -> Placement:
        """Return where the tenant is, as it was at most half a second ago.

        Raises:
            PlacementUnavailable: the database does not answer.
        """
        return await self._recent.get(identity.tenant_id)

    async def now(self, identity: Identity) -> Placement:
        """Return where the tenant is at this moment.

        Raises:
            PlacementUnavailable: the database does not answer.
        """
        return await self._find(identity.tenant_id)

    async def _find(self, tenant_id: str) -> Placement:
        try:
            row = await self._pool.fetchrow(_FIND, tenant_id, timeout=TIMEOUT_SECONDS)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise PlacementUnavailable("where the tenant is cannot be looked up") from error
        if row is None:
            return Placement()
        return Placement(**dict(row) | {"state": MoveState(row["state"])})


@contextlib.asynccontextmanager
async def open_placements(url: str) -> AsyncIterator[Placements]:
    """Give the placements in the database at `url`, which is SQLAlchemy's, with the asyncpg driver.

    The database need not be there yet.
    """
    async with asyncpg.create_pool(url.replace("+asyncpg", "", 1), min_size=0, max_size=POOL_SIZE) as pool:
        yield Placements(pool)
