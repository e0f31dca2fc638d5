"""Runs in PostgreSQL: their queue, who works on them, and how far they are."""

import contextlib
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Update, cast, func, insert, or_, select, text, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.dml import ReturningUpdate

from services.common.database import Sessions
from services.common.errors import ServiceError
from services.common.identity import Identity
from services.tune.adapters.run_tables import RUNS, SHOWN, failure, order_of, row_of, run_of
from services.tune.adapters.tables import RERANKERS, newest_first, reranker_row, translated
from services.tune.domain.adapter_runs import MAX_ATTEMPTS, AdapterOrder, Step
from services.tune.domain.errors import RunLost, RunNotFound, TooManyRuns
from services.tune.domain.limits import MAX_WAITING_RUNS
from services.tune.domain.runs import Order, Origin, Position, Reranker, Run, RunState

Claimed = tuple[Run, Order | AdapterOrder]

_WAITING = (RunState.QUEUED.value, RunState.RUNNING.value)
# Held by who works on a tenant's runs, until it lets go or its connection ends.
_TENANT_LOCK = text("SELECT pg_try_advisory_xact_lock(hashtextextended('tune.runs/' || :tenant, 0))")
_QUEUE_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended('tune.queue/' || :tenant, 0))")


class PostgresRuns:
    """The runs of all tenants. All methods raise StoreUnavailable when the database cannot be reached."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def add(self, order: Order | AdapterOrder, run_id: str, now: datetime) -> Run:
        """Queue a run, or return the one that was made for the same request_id.

        Raises:
            TooManyRuns: the tenant has as many that wait as may.
        """
        with translated():
            async with self._sessions.begin() as session:
                tenant_id = order.identity.tenant_id
                await session.execute(_QUEUE_LOCK, {"tenant": tenant_id})
                if made := await _made(session, order):
                    return made
                await _check_room(session, tenant_id)
                added = insert(RUNS).values(row_of(order, run_id, now)).returning(*SHOWN)
                return run_of((await session.execute(added)).one())

    async def find(self, identity: Identity, run_id: str) -> Run:
        """Return a run of the tenant.

        Raises:
            RunNotFound: it has none of this id.
        """
        query = select(*SHOWN).where(*_is(identity.tenant_id, run_id))
        with translated():
            async with self._sessions() as session:
                return _found((await session.execute(query)).one_or_none())

    async def page(self, identity: Identity, after: Position | None, limit: int) -> list[Run]:
        """Return at most `limit` runs of the tenant that come after a position, newest first."""
        query = select(*SHOWN).where(RUNS.c.tenant_id == identity.tenant_id)
        query = newest_first(query, (RUNS.c.created_at, RUNS.c.run_id), after)
        with translated():
            async with self._sessions() as session:
                return [run_of(row) for row in await session.execute(query.limit(limit))]

    async def cancel(self, identity: Identity, run_id: str, now: datetime) -> Run:
        """End a run that has not ended, and return it as it is then.

        Raises:
            RunNotFound: the tenant has none of this id.
        """
        await self._end(identity.tenant_id, run_id, _WAITING, {"state": RunState.CANCELLED.value, "ended_at": now})
        return await self.find(identity, run_id)

    async def waiting_tenants(self) -> list[str]:
        """Return the tenants with runs that have not ended, whoever's has waited longest first."""
        query = select(RUNS.c.tenant_id).where(RUNS.c.state.in_(_WAITING)).group_by(RUNS.c.tenant_id)
        with translated():
            async with self._sessions() as session:
                return list(await session.scalars(query.order_by(func.min(RUNS.c.created_at))))

    async def counts(self) -> dict[str, int]:
        """Return how many runs of all tenants are in each state."""
        query = select(RUNS.c.state, func.count().label("number")).group_by(RUNS.c.state)
        with translated():
            async with self._sessions() as session:
                return {row.state: row.number for row in await session.execute(query)}

    async def resumable(self) -> set[str]:
        """Return the ids of all tenants' runs that may be taken up again from what they have in their folders."""
        query = select(RUNS.c.run_id).where(
            RUNS.c.state == RunState.RUNNING.value, RUNS.c.origin == Origin.DATASET.value
        )
        with translated():
            async with self._sessions() as session:
                return set(await session.scalars(query))

    @contextlib.asynccontextmanager
    async def claim(self, tenant_id: str, now: datetime) -> AsyncIterator[Claimed | None]:
        """Give a tenant's oldest run to this caller alone, as long as this lasts; None where there is none to have.

        What another worked on that is gone is given again where it trains an adapter and was not lost too often, and
        else marked as failed.
        """
        with translated():
            async with self._sessions.begin() as lock:
                if not await lock.scalar(_TENANT_LOCK, {"tenant": tenant_id}):
                    yield None
                    return
                yield await self._taken(tenant_id, now)

    async def _taken(self, tenant_id: str, now: datetime) -> Claimed | None:
        async with self._sessions.begin() as session:
            await session.execute(_lost(tenant_id, now))
            for state in (RunState.RUNNING, RunState.QUEUED):
                if row := (await session.execute(_begun(tenant_id, state, now))).one_or_none():
                    return run_of(row), order_of(row)
        return None

    async def tell(self, run: Run, stage: str, progress: float, step: Step | None = None) -> bool:
        """Say how far a run is; return whether it still runs, for somebody may have ended it."""
        values = {"stage": stage, "progress": progress} | (asdict(step) if step else {})
        return await self._end(run.tenant_id, run.run_id, (RunState.RUNNING.value,), values, ended=False)

    async def resolve(self, run: Run, hyperparameters: Mapping[str, float]) -> bool:
        """Say what an adapter's run computes with; return whether it still runs."""
        shown = RUNS.c.training.concat(func.jsonb_build_object("hyperparameters", cast(dict(hyperparameters), JSONB)))
        return await self._end(run.tenant_id, run.run_id, (RunState.RUNNING.value,), {"training": shown}, ended=False)

    async def fail(self, run: Run, error: ServiceError, now: datetime) -> bool:
        """Say why a run failed; return whether it ran until now."""
        return await self._end(run.tenant_id, run.run_id, (RunState.RUNNING.value,), failure(error, now))

    async def succeed(self, run: Run, reranker: Reranker, now: datetime) -> bool:
        """Keep the reranker that a run made; return whether it ran until now, without which nothing is kept."""
        made = {"reranker": reranker.digest, "report": asdict(reranker.report)}
        with translated():
            async with self._sessions.begin() as session:
                if not (await session.execute(_done(run, now, made))).one_or_none():
                    return False
                await session.execute(insert(RERANKERS).values(reranker_row(run.tenant_id, reranker)))
                return True

    async def succeed_with_adapter(self, run: Run, digest: str, now: datetime, *, passed: bool) -> bool:
        """Say which adapter a run made, and whether the gate lets it through; return whether it ran until now."""
        made = {"adapter": digest, "passed": passed, "eta_seconds": 0.0}
        with translated():
            async with self._sessions.begin() as session:
                return (await session.execute(_done(run, now, made))).one_or_none() is not None

    async def _end(  # a private one, for the four ends of a run
        self, tenant_id: str, run_id: str, states: Collection[str], values: dict[str, Any], *, ended: bool = True
    ) -> bool:
        values = {"stage": "", "progress": 0.0, "eta_seconds": 0.0, "work": None, **values} if ended else values
        statement = update(RUNS).where(*_is(tenant_id, run_id), RUNS.c.state.in_(states))
        with translated():
            async with self._sessions.begin() as session:
                changed = await session.execute(statement.values(**values).returning(RUNS.c.run_id))
                return changed.one_or_none() is not None


def _lost(tenant_id: str, now: datetime) -> Update:
    """Return what marks runs as lost that nobody works on: those of rerankers, and adapters' of too many attempts."""
    gone = RunLost("the process that worked on the run is gone")
    for_good = or_(RUNS.c.origin != Origin.DATASET.value, RUNS.c.attempts >= MAX_ATTEMPTS)
    running = (RUNS.c.tenant_id == tenant_id, RUNS.c.state == RunState.RUNNING.value)
    return update(RUNS).where(*running, for_good).values(**failure(gone, now))


def _begun(tenant_id: str, state: RunState, now: datetime) -> ReturningUpdate[Any]:
    """Return what begins a tenant's oldest run of a state, or takes it up again."""
    own = (RUNS.c.tenant_id == tenant_id, RUNS.c.state == state.value)
    oldest = select(RUNS.c.run_id).where(*own).order_by(RUNS.c.created_at).limit(1).scalar_subquery()
    begun = update(RUNS).where(*own, RUNS.c.run_id == oldest)
    values = {"state": RunState.RUNNING.value, "attempts": RUNS.c.attempts + 1}
    return begun.values(**values, started_at=func.coalesce(RUNS.c.started_at, now)).returning(RUNS)


def _done(run: Run, now: datetime, made: Mapping[str, Any]) -> ReturningUpdate[Any]:
    own = (*_is(run.tenant_id, run.run_id), RUNS.c.state == RunState.RUNNING.value)
    ended = {"state": RunState.SUCCEEDED.value, "stage": "", "progress": 0.0, "work": None, "ended_at": now}
    return update(RUNS).where(*own).values(**ended, **made).returning(RUNS.c.run_id)


def _is(tenant_id: str, run_id: str) -> tuple[Any, Any]:
    # PostgreSQL keeps no zero bytes, and refuses to look for them.
    return RUNS.c.tenant_id == tenant_id, RUNS.c.run_id == run_id.replace("\0", "")


def _found(row: Row[Any] | None) -> Run:
    if row is None:
        raise RunNotFound("no such run")
    return run_of(row)


async def _made(session: AsyncSession, order: Order | AdapterOrder) -> Run | None:
    if not order.request_id:
        return None
    query = select(*SHOWN).where(RUNS.c.tenant_id == order.identity.tenant_id, RUNS.c.request_id == order.request_id)
    row = (await session.execute(query)).one_or_none()
    return run_of(row) if row else None


async def _check_room(session: AsyncSession, tenant_id: str) -> None:
    query = select(func.count()).select_from(RUNS)
    waiting = await session.scalar(query.where(RUNS.c.tenant_id == tenant_id, RUNS.c.state.in_(_WAITING)))
    if (waiting or 0) >= MAX_WAITING_RUNS:
        raise TooManyRuns("too many runs wait", limit=MAX_WAITING_RUNS)
