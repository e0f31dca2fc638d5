"""Aliases in PostgreSQL: each move is one transaction with its line in the history and its record in the outbox."""

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, delete, insert, select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncSession

from services.common.database import Sessions
from services.common.outbox import Outbox
from services.tune.adapters.alias_records import alias_record
from services.tune.adapters.alias_rows import (
    aliases,
    check_adapter,
    check_movable,
    last_promotion,
    locked,
    read,
    there,
    with_canaries,
)
from services.tune.adapters.canary_rows import end
from services.tune.adapters.registry_tables import (
    ALIASES,
    CANARIES,
    MOVES,
    REVISIONS,
    TENANT_LOCK,
    alias_row,
    canary_row,
    move_of,
    move_row,
)
from services.tune.adapters.tables import translated
from services.tune.domain.canaries import Canary, CanaryState, Look, Rule
from services.tune.domain.registry import Alias, Change, Move, MoveAction, Target
from services.tune.domain.registry_errors import AliasNotFound, NoCanary

# How long it is told that an alias is gone, to replicas that have not heard of it.
TOLD_GONE = timedelta(days=7)
_ENDS = {
    CanaryState.PROMOTED: MoveAction.CANARY_PROMOTED,
    CanaryState.ROLLED_BACK: MoveAction.CANARY_ROLLED_BACK,
    CanaryState.EXPIRED: MoveAction.CANARY_EXPIRED,
    CanaryState.STOPPED: MoveAction.CANARY_STOPPED,
}


@dataclass(frozen=True, slots=True)
class Trial:
    """What a canary is to try."""

    digest: str
    share: float
    cleared: bool
    rule: Rule


@dataclass(frozen=True, slots=True)
class Ending:
    """How a canary ends: `canary_id` is the one that it must be, "" for whichever.

    `look` is what decided; None where somebody did.
    """

    state: CanaryState
    canary_id: str = ""
    look: Look | None = None


class PostgresAliases:
    """The aliases of all tenants. All methods raise StoreUnavailable when the database cannot be reached.

    Those that change an alias raise AliasChanged when it is not at the revision that the change expects.
    """

    def __init__(
        self,
        sessions: Sessions,
        outbox: Outbox,
        now: Callable[[], datetime],
        new_id: Callable[[], str],
        moved: Callable[[MoveAction], None] = lambda _action: None,
    ) -> None:
        """`moved` hears of each move."""
        self._sessions = sessions
        self._outbox = outbox
        self._now = now
        self._new_id = new_id
        self._heard = moved

    async def promote(self, tenant_id: str, name: str, target: Target, change: Change) -> Alias:
        """Point an alias at an adapter, and return it; one that points there stays as it is.

        Raises:
            AdapterNotFound: the tenant has no such adapter.
            CanaryRunning: something is tried under the alias.
            TooManyAliases: there is no room for another one.
        """
        async with self._changing(tenant_id) as session:
            await check_adapter(session, tenant_id, target.digest)
            old = await locked(session, tenant_id, name)
            same = (target.digest, target.cleared) == (old.live.digest, old.live.cleared)
            if same and not old.deleted and not old.canary:
                return old
            await check_movable(session, old, change)
            return await self._moved(session, old, replace(old, live=target), MoveAction.PROMOTED, change)

    async def start_canary(self, tenant_id: str, name: str, trial: Trial, change: Change) -> Alias:
        """Try an adapter under an alias, which is made where it is not there, and return it.

        Raises:
            AdapterNotFound: the tenant has no such adapter.
            CanaryRunning: another one is tried.
            TooManyAliases: there is no room for another one.
        """
        async with self._changing(tenant_id) as session:
            await check_adapter(session, tenant_id, trial.digest)
            old = await locked(session, tenant_id, name)
            if old.canary and old.canary.digest == trial.digest:
                return old
            await check_movable(session, old, change)
            canary = self._canary_of(name, old.live.digest, trial, change)
            await session.execute(insert(CANARIES).values(canary_row(tenant_id, canary)))
            return await self._moved(session, old, replace(old, canary=canary), MoveAction.CANARY_STARTED, change)

    async def end_canary(self, tenant_id: str, name: str, ending: Ending, change: Change) -> Alias:
        """End a canary, by pointing the alias at it or by taking it back, and return the alias.

        Raises:
            AliasNotFound: there is no such alias.
            NoCanary: nothing is tried under it, or another one than was meant.
        """
        async with self._changing(tenant_id) as session:
            old = await there(session, tenant_id, name, change)
            canary = old.canary
            if canary is None or ending.canary_id not in {"", canary.canary_id}:
                raise NoCanary("no adapter is tried under the alias", alias=name)
            await end(session, tenant_id, replace(canary, state=ending.state, ended_at=self._now()), ending.look)
            promoted = Target(canary.digest, canary.cleared, canary.subject)
            live = promoted if ending.state is CanaryState.PROMOTED else old.live
            return await self._moved(session, old, replace(old, live=live, canary=None), _ENDS[ending.state], change)

    async def roll_back(self, tenant_id: str, name: str, change: Change) -> Alias:
        """Undo the last promotion that is not undone, and return the alias.

        Raises:
            AliasNotFound: there is no such alias.
            AdapterNotFound: what was there before was deleted.
            CanaryRunning: something is tried under the alias.
            NothingToRollBack: no promotion is there that is not undone.
        """
        async with self._changing(tenant_id) as session:
            old = await there(session, tenant_id, name, change)
            await check_movable(session, old, change)
            last = await last_promotion(session, old)
            await check_adapter(session, tenant_id, last.previous.digest)
            back = replace(change, undoes=last.revision)
            return await self._moved(session, old, replace(old, live=last.previous), MoveAction.ROLLED_BACK, back)

    async def delete(self, tenant_id: str, name: str, change: Change) -> None:
        """Take an alias away.

        Raises:
            AliasNotFound: there is no such alias.
            CanaryRunning: something is tried under it.
        """
        async with self._changing(tenant_id) as session:
            old = await there(session, tenant_id, name, change)
            await check_movable(session, old, change)
            await self._moved(session, old, replace(old, live=Target(), deleted=True), MoveAction.DELETED, change)

    async def find(self, tenant_id: str, name: str) -> Alias:
        """Return an alias.

        Raises:
            AliasNotFound: the tenant has none of this name.
        """
        found = await self._all(aliases(tenant_id).where(ALIASES.c.alias == name.replace("\0", "")))
        if not found:
            raise AliasNotFound("no such alias", alias=name[:100])
        return found[0]

    async def page(self, tenant_id: str, after: str, limit: int) -> list[Alias]:
        """Return at most `limit` aliases of the tenant whose names come after one, by name."""
        return await self._all(aliases(tenant_id).where(ALIASES.c.alias > after).order_by(ALIASES.c.alias).limit(limit))

    async def history(self, tenant_id: str, name: str, before: int | None, limit: int) -> list[Move]:
        """Return at most `limit` moves of an alias before a revision, newest first."""
        query = select(MOVES).where(MOVES.c.tenant_id == tenant_id, MOVES.c.alias == name.replace("\0", ""))
        if before is not None:
            query = query.where(MOVES.c.revision < before)
        with translated():
            async with self._sessions() as session:
                found = await session.execute(query.order_by(MOVES.c.revision.desc()).limit(limit))
                return [move_of(row) for row in found]

    async def told(self) -> list[Alias]:
        """Return what replicas are to know of all tenants: every alias, and those that are gone since a week at most.

        Forgets those that are gone since longer.
        """
        forgotten = delete(ALIASES).where(ALIASES.c.deleted, ALIASES.c.changed_at < self._now() - TOLD_GONE)
        with translated():
            async with self._sessions.begin() as session:
                await session.execute(forgotten)
        return await self._all(with_canaries())

    def _canary_of(self, name: str, against: str, trial: Trial, change: Change) -> Canary:
        return Canary(
            canary_id=self._new_id(),
            alias=name,
            digest=trial.digest,
            against=against,
            share=trial.share,
            cleared=trial.cleared,
            rule=trial.rule,
            state=CanaryState.RUNNING,
            subject=change.subject,
            started_at=self._now(),
        )

    async def _moved(self, session: AsyncSession, old: Alias, new: Alias, action: MoveAction, change: Change) -> Alias:
        revision, now = await next_revision(session), self._now()
        new = replace(new, revision=revision, subject=change.subject, changed_at=now)
        if action is not MoveAction.DELETED:
            new = replace(new, deleted=False)
        tried = new.canary or old.canary
        move = Move(
            revision=revision,
            action=action,
            live=new.live,
            previous=old.live,
            canary_id=tried.canary_id if tried else "",
            canary_digest=tried.digest if tried else "",
            subject=change.subject,
            overridden=change.overridden,
            reason=change.reason,
            undoes=change.undoes,
            moved_at=now,
        )
        await session.execute(insert(MOVES).values(move_row(new.tenant_id, new.alias, move)))
        await put_alias(session, self._outbox, new)
        self._heard(action)
        return new

    @contextlib.asynccontextmanager
    async def _changing(self, tenant_id: str) -> AsyncIterator[AsyncSession]:
        with translated():
            async with self._sessions.begin() as session:
                await session.execute(TENANT_LOCK, {"tenant": tenant_id})
                yield session
        self._outbox.wake()

    async def _all(self, query: Select[Any]) -> list[Alias]:
        with translated():
            async with self._sessions() as session:
                return await read(session, query)


async def next_revision(session: AsyncSession) -> int:
    """Return a revision that is higher than every one before."""
    return int(await session.scalar(select(REVISIONS.next_value())) or 0)


async def put_alias(session: AsyncSession, outbox: Outbox, alias: Alias) -> None:
    """Write an alias as it is now, and its record into the outbox."""
    row = alias_row(alias)
    statement = upsert(ALIASES).values(row)
    await session.execute(statement.on_conflict_do_update(index_elements=["tenant_id", "alias"], set_=row))
    await outbox.add(session, [alias_record(alias)])
