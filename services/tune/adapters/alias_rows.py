"""How aliases are found, and checked before they move."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from services.tune.adapters.registry_tables import ADAPTERS, ALIASES, CANARIES, MOVES, TRIED, alias_of, move_of
from services.tune.domain.errors import NothingToRollBack
from services.tune.domain.registry import MAX_ALIASES, Alias, Change, Move, MoveAction, Target
from services.tune.domain.registry_errors import (
    AdapterNotFound,
    AliasChanged,
    AliasNotFound,
    CanaryRunning,
    TooManyAliases,
)

_NEVER = datetime(1970, 1, 1, tzinfo=UTC)
_PROMOTIONS = (MoveAction.PROMOTED.value, MoveAction.CANARY_PROMOTED.value)


def with_canaries() -> Select[Any]:
    """Select aliases, each with the canary that runs."""
    tried = (CANARIES.c.tenant_id == ALIASES.c.tenant_id) & (CANARIES.c.canary_id == ALIASES.c.canary_id)
    shown = [column.label(f"{TRIED}{column.name}") for column in CANARIES.c]
    return select(*ALIASES.c, *shown).select_from(ALIASES.outerjoin(CANARIES, tried))


def aliases(tenant_id: str) -> Select[Any]:
    """Select the tenant's aliases that are there."""
    return with_canaries().where(ALIASES.c.tenant_id == tenant_id, ALIASES.c.deleted.is_(False))


async def read(session: AsyncSession, query: Select[Any]) -> list[Alias]:
    """Return what a query of `with_canaries` finds."""
    return [alias_of(row) for row in await session.execute(query)]


async def locked(session: AsyncSession, tenant_id: str, name: str) -> Alias:
    """Return an alias, or what stands for one that is not there."""
    found = await read(session, with_canaries().where(ALIASES.c.tenant_id == tenant_id, ALIASES.c.alias == name))
    return found[0] if found else Alias(tenant_id, name, Target(), 0, "", _NEVER, deleted=True)


async def there(session: AsyncSession, tenant_id: str, name: str, change: Change) -> Alias:
    """Return an alias at the revision that the change expects.

    Raises:
        AliasNotFound: there is no such alias.
        AliasChanged: it is at another revision.
    """
    alias = await locked(session, tenant_id, name.replace("\0", ""))
    if alias.deleted:
        raise AliasNotFound("no such alias", alias=name[:100])
    _check_revision(alias, change)
    return alias


def _check_revision(alias: Alias, change: Change) -> None:
    at = 0 if alias.deleted else alias.revision
    if change.expected not in {None, at}:
        raise AliasChanged("somebody has moved the alias meanwhile", alias=alias.alias, revision=at)


async def check_movable(session: AsyncSession, alias: Alias, change: Change) -> None:
    """Check that an alias may be pointed elsewhere.

    Raises:
        AliasChanged: it is not at the revision that the change expects.
        CanaryRunning: something is tried under it.
        TooManyAliases: it is not there, and there is no room for another one.
    """
    _check_revision(alias, change)
    if alias.canary:
        raise CanaryRunning(
            "an adapter is tried under the alias: promote or stop it first",
            alias=alias.alias,
            canary_id=alias.canary.canary_id,
        )
    if alias.deleted:
        own = select(func.count()).where(ALIASES.c.tenant_id == alias.tenant_id, ALIASES.c.deleted.is_(False))
        if (await session.scalar(own) or 0) >= MAX_ALIASES:
            raise TooManyAliases("the tenant has as many aliases as it may", limit=MAX_ALIASES)


async def check_adapter(session: AsyncSession, tenant_id: str, digest: str) -> None:
    """Check that the tenant has an adapter; everybody has the base model, "".

    Raises:
        AdapterNotFound: it has none of this digest.
    """
    if not digest:
        return
    known = select(ADAPTERS.c.digest).where(ADAPTERS.c.tenant_id == tenant_id, ADAPTERS.c.digest == digest)
    if "\0" in digest or await session.scalar(known) is None:
        raise AdapterNotFound("no such adapter")


async def last_promotion(session: AsyncSession, alias: Alias) -> Move:
    """Return an alias's last promotion that is not undone.

    Raises:
        NothingToRollBack: there is none.
    """
    own = (MOVES.c.tenant_id == alias.tenant_id) & (MOVES.c.alias == alias.alias)
    # What was before the alias was last taken away is not its past any more.
    begun = select(func.coalesce(func.max(MOVES.c.revision), 0)).where(own, MOVES.c.action == MoveAction.DELETED.value)
    undone = select(MOVES.c.undoes).where(own)
    query = select(MOVES).where(
        own,
        MOVES.c.action.in_(_PROMOTIONS),
        MOVES.c.revision > begun.scalar_subquery(),
        MOVES.c.revision.not_in(undone),
    )
    row = (await session.execute(query.order_by(MOVES.c.revision.desc()).limit(1))).one_or_none()
    if row is None:
        raise NothingToRollBack("no promotion is there to take back", alias=alias.alias)
    return move_of(row)
