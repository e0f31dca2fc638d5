"""Runs, rerankers and promotions in PostgreSQL."""

import contextlib
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, func, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncSession

from services.common.database import Sessions
from services.common.errors import ServiceError
from services.common.identity import Identity
from services.tune.adapters.tables import (
    PROMOTIONS,
    RERANKERS,
    RUNS,
    SHOWN,
    failure,
    newest_first,
    order_of,
    promotion_of,
    reranker_of,
    reranker_row,
    row_of,
    run_of,
    translated,
)
from services.tune.domain.errors import RerankerNotFound, RunLost, RunNotFound, TooManyRuns
from services.tune.domain.runs import (
    MAX_WAITING_RUNS,
    Order,
    Position,
    Promotion,
    Reranker,
    Run,
    RunState,
)

_WAITING = (RunState.QUEUED.value, RunState.RUNNING.value)
# Held by who works on a tenant's runs, until it lets go or its connection ends.
_TENANT_LOCK = text("SELECT pg_try_advisory_xact_lock(hashtextextended('tune.runs/' || :tenant, 0))")
_QUEUE_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended('tune.queue/' || :tenant, 0))")


class PostgresRuns:
    """The runs of all tenants. All methods raise StoreUnavailable when the database cannot be reached."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def add(self, order: Order, run_id: str, now: datetime) -> Run:
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

    @contextlib.asynccontextmanager
    async def claim(self, tenant_id: str, now: datetime) -> AsyncIterator[tuple[Run, Order] | None]:
        """Give a tenant's oldest run to this caller alone, as long as this lasts; None where there is none to have.

        What another worked on that is gone is marked as failed first.
        """
        with translated():
            async with self._sessions.begin() as lock:
                if not await lock.scalar(_TENANT_LOCK, {"tenant": tenant_id}):
                    yield None
                    return
                yield await self._taken(tenant_id, now)

    async def _taken(self, tenant_id: str, now: datetime) -> tuple[Run, Order] | None:
        own = RUNS.c.tenant_id == tenant_id
        lost = RunLost("the process that worked on the run is gone")
        oldest = select(RUNS.c.run_id).where(own, RUNS.c.state == RunState.QUEUED.value).order_by(RUNS.c.created_at)
        begun = update(RUNS).where(own, RUNS.c.run_id == oldest.limit(1).scalar_subquery())
        async with self._sessions.begin() as session:
            running = update(RUNS).where(own, RUNS.c.state == RunState.RUNNING.value)
            await session.execute(running.values(**failure(lost, now)))
            begun = begun.where(RUNS.c.state == RunState.QUEUED.value)
            begun = begun.values(state=RunState.RUNNING.value, started_at=now).returning(RUNS)
            row = (await session.execute(begun)).one_or_none()
            return (run_of(row), order_of(row)) if row else None

    async def tell(self, run: Run, stage: str, progress: float) -> bool:
        """Say how far a run is; return whether it still runs, for somebody may have ended it."""
        values = {"stage": stage, "progress": progress}
        return await self._end(run.tenant_id, run.run_id, (RunState.RUNNING.value,), values, ended=False)

    async def fail(self, run: Run, error: ServiceError, now: datetime) -> bool:
        """Say why a run failed; return whether it ran until now."""
        return await self._end(run.tenant_id, run.run_id, (RunState.RUNNING.value,), failure(error, now))

    async def succeed(self, run: Run, reranker: Reranker, now: datetime) -> bool:
        """Keep what a run made; return whether it ran until now, without which nothing is kept."""
        done = (
            update(RUNS)
            .where(*_is(run.tenant_id, run.run_id), RUNS.c.state == RunState.RUNNING.value)
            .values(
                state=RunState.SUCCEEDED.value,
                stage="",
                progress=0.0,
                work=None,
                reranker=reranker.digest,
                report=asdict(reranker.report),
                ended_at=now,
            )
            .returning(RUNS.c.run_id)
        )
        with translated():
            async with self._sessions.begin() as session:
                if not (await session.execute(done)).one_or_none():
                    return False
                await session.execute(insert(RERANKERS).values(reranker_row(run.tenant_id, reranker)))
                return True

    async def _end(  # a private one, for the four ends of a run
        self, tenant_id: str, run_id: str, states: Collection[str], values: dict[str, Any], *, ended: bool = True
    ) -> bool:
        values = {"stage": "", "progress": 0.0, "work": None, **values} if ended else values
        statement = update(RUNS).where(*_is(tenant_id, run_id), RUNS.c.state.in_(states))
        with translated():
            async with self._sessions.begin() as session:
                changed = await session.execute(statement.values(**values).returning(RUNS.c.run_id))
                return changed.one_or_none() is not None


class PostgresRerankers:
    """What runs made, and what of it was put into use.

    All methods raise StoreUnavailable when the database cannot be reached.
    """

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def find(self, identity: Identity, digest: str) -> Reranker:
        """Return a reranker of the tenant.

        Raises:
            RerankerNotFound: it has none of this digest.
        """
        query = select(RERANKERS).where(RERANKERS.c.tenant_id == identity.tenant_id, RERANKERS.c.digest == digest)
        # PostgreSQL keeps no such text, and refuses to look for it.
        row = None if "\0" in digest else await self._one(query)
        if row is None:
            raise RerankerNotFound("no such reranker")
        return reranker_of(row)

    async def page(self, identity: Identity, after: Position | None, limit: int) -> list[Reranker]:
        """Return at most `limit` rerankers of the tenant that come after a position, newest first."""
        query = select(RERANKERS).where(RERANKERS.c.tenant_id == identity.tenant_id)
        query = newest_first(query, (RERANKERS.c.created_at, RERANKERS.c.digest), after)
        return [reranker_of(row) for row in await self._all(query.limit(limit))]

    async def promotions(self, identity: Identity, after: Position | None, limit: int) -> list[Promotion]:
        """Return at most `limit` promotions of the tenant that come after a position, newest first."""
        query = select(PROMOTIONS).where(PROMOTIONS.c.tenant_id == identity.tenant_id)
        query = newest_first(query, (PROMOTIONS.c.promoted_at, PROMOTIONS.c.promotion_id), after)
        return [promotion_of(row) for row in await self._all(query.limit(limit))]

    async def promoted(self, identity: Identity) -> Promotion | None:
        """Return the last promotion that is no rollback and was not rolled back."""
        own = PROMOTIONS.c.tenant_id == identity.tenant_id
        undone = select(PROMOTIONS.c.undoes).where(own)
        query = select(PROMOTIONS).where(own, PROMOTIONS.c.undoes == "", PROMOTIONS.c.promotion_id.not_in(undone))
        query = newest_first(query, (PROMOTIONS.c.promoted_at, PROMOTIONS.c.promotion_id), None)
        row = await self._one(query.limit(1))
        return promotion_of(row) if row else None

    async def add_promotion(self, identity: Identity, promotion: Promotion) -> None:
        """Put down what was put into use; the same once more changes nothing."""
        row = {"tenant_id": identity.tenant_id} | asdict(promotion)
        with translated():
            async with self._sessions.begin() as session:
                await session.execute(upsert(PROMOTIONS).values(row).on_conflict_do_nothing())

    async def in_use(self) -> int:
        """Return how many tenants' last promotion put a reranker into use."""
        newest = (
            select(PROMOTIONS.c.tenant_id, PROMOTIONS.c.reranker)
            .distinct(PROMOTIONS.c.tenant_id)
            .order_by(PROMOTIONS.c.tenant_id, PROMOTIONS.c.promoted_at.desc())
            .subquery()
        )
        row = await self._one(select(func.count()).select_from(newest).where(newest.c.reranker != ""))
        return int(row[0]) if row else 0

    async def _one(self, query: Select[Any]) -> Row[Any] | None:
        found = await self._all(query)
        return found[0] if found else None

    async def _all(self, query: Select[Any]) -> Sequence[Row[Any]]:
        with translated():
            async with self._sessions() as session:
                rows: Sequence[Row[Any]] = (await session.execute(query)).all()
                return rows


def _is(tenant_id: str, run_id: str) -> tuple[Any, Any]:
    # PostgreSQL keeps no zero bytes, and refuses to look for them.
    return RUNS.c.tenant_id == tenant_id, RUNS.c.run_id == run_id.replace("\0", "")


def _found(row: Row[Any] | None) -> Run:
    if row is None:
        raise RunNotFound("no such run")
    return run_of(row)


async def _made(session: AsyncSession, order: Order) -> Run | None:
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
