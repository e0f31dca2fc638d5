"""Builds and data sets in PostgreSQL."""

import contextlib
from collections.abc import AsyncIterator, Collection
from datetime import datetime
from typing import Any

from sqlalchemy import Row, delete, func, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncSession

from services.common.database import Sessions
from services.common.errors import ServiceError
from services.common.identity import Identity
from services.tune.adapters.dataset_tables import (
    BUILDS,
    DATASETS,
    SHOWN,
    build_of,
    build_row,
    dataset_of,
    dataset_row,
    order_of,
)
from services.tune.adapters.tables import failure, newest_first, translated
from services.tune.datasets.errors import BuildLost, BuildNotFound, DatasetNotFound, TooManyBuilds
from services.tune.datasets.parameters import BuildOrder
from services.tune.datasets.store import Card
from services.tune.domain.datasets import MAX_WAITING_BUILDS, DatasetBuild, KeptDataset
from services.tune.domain.runs import Position, RunState

_WAITING = (RunState.QUEUED.value, RunState.RUNNING.value)
# Held by who works on a tenant's builds, until it lets go or its connection ends.
_TENANT_LOCK = text("SELECT pg_try_advisory_xact_lock(hashtextextended('tune.builds/' || :tenant, 0))")
_QUEUE_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended('tune.build_queue/' || :tenant, 0))")


class PostgresBuilds:
    """The builds of all tenants. All methods raise StoreUnavailable when the database cannot be reached."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def made(self, identity: Identity, request_id: str) -> DatasetBuild | None:
        """Return the build that was made for a request_id, if one was."""
        with translated():
            async with self._sessions() as session:
                return await _made(session, identity, request_id)

    async def add(self, order: BuildOrder, build_id: str, now: datetime) -> DatasetBuild:
        """Queue a build, or return the one that was made for the same request_id.

        Raises:
            TooManyBuilds: the tenant has as many that wait as may.
        """
        with translated():
            async with self._sessions.begin() as session:
                await session.execute(_QUEUE_LOCK, {"tenant": order.identity.tenant_id})
                if made := await _made(session, order.identity, order.request_id):
                    return made
                await _check_room(session, order.identity.tenant_id)
                added = insert(BUILDS).values(build_row(order, build_id, now)).returning(*SHOWN)
                return build_of((await session.execute(added)).one())

    async def find(self, identity: Identity, build_id: str) -> DatasetBuild:
        """Return a build of the tenant.

        Raises:
            BuildNotFound: it has none of this id.
        """
        query = select(*SHOWN).where(*_is(identity.tenant_id, build_id))
        with translated():
            async with self._sessions() as session:
                row = (await session.execute(query)).one_or_none()
        if row is None:
            raise BuildNotFound("no such build")
        return build_of(row)

    async def page(self, identity: Identity, after: Position | None, limit: int) -> list[DatasetBuild]:
        """Return at most `limit` builds of the tenant that come after a position, newest first."""
        query = select(*SHOWN).where(BUILDS.c.tenant_id == identity.tenant_id)
        query = newest_first(query, (BUILDS.c.created_at, BUILDS.c.build_id), after)
        with translated():
            async with self._sessions() as session:
                return [build_of(row) for row in await session.execute(query.limit(limit))]

    async def cancel(self, identity: Identity, build_id: str, now: datetime) -> DatasetBuild:
        """End a build that has not ended, and return it as it is then.

        Raises:
            BuildNotFound: the tenant has none of this id.
        """
        ended = {"state": RunState.CANCELLED.value, "stage": "", "progress": 0.0, "work": None, "ended_at": now}
        await self._change(identity.tenant_id, build_id, _WAITING, ended)
        return await self.find(identity, build_id)

    async def waiting_tenants(self) -> list[str]:
        """Return the tenants with builds that have not ended, whoever's has waited longest first."""
        query = select(BUILDS.c.tenant_id).where(BUILDS.c.state.in_(_WAITING)).group_by(BUILDS.c.tenant_id)
        with translated():
            async with self._sessions() as session:
                return list(await session.scalars(query.order_by(func.min(BUILDS.c.created_at))))

    @contextlib.asynccontextmanager
    async def claim(self, tenant_id: str, now: datetime) -> AsyncIterator[tuple[DatasetBuild, BuildOrder] | None]:
        """Give a tenant's oldest build to this caller alone, as long as this lasts; None where there is none to have.

        What another worked on that is gone is marked as failed first.
        """
        with translated():
            async with self._sessions.begin() as lock:
                if not await lock.scalar(_TENANT_LOCK, {"tenant": tenant_id}):
                    yield None
                    return
                yield await self._taken(tenant_id, now)

    async def tell(self, build: DatasetBuild, stage: str, progress: float) -> bool:
        """Say how far a build is; return whether it still runs, for somebody may have ended it."""
        values = {"stage": stage, "progress": progress}
        return await self._change(build.tenant_id, build.build_id, (RunState.RUNNING.value,), values)

    async def fail(self, build: DatasetBuild, error: ServiceError, now: datetime) -> bool:
        """Say why a build failed; return whether it ran until now."""
        return await self._change(build.tenant_id, build.build_id, (RunState.RUNNING.value,), failure(error, now))

    async def succeed(self, build: DatasetBuild, card: Card, now: datetime) -> bool:
        """Keep what a build made; return whether it ran until now, without which nothing is kept."""
        values = {"state": RunState.SUCCEEDED.value, "stage": "", "progress": 0.0, "work": None}
        done = update(BUILDS).where(*_is(build.tenant_id, build.build_id), BUILDS.c.state == RunState.RUNNING.value)
        done = done.values(**values, dataset=card.digest, ended_at=now)
        row = dataset_row(build, card, now)
        kept = upsert(DATASETS).values(row)
        # The same rows may come from others, and what was erased may be built again.
        again = {name: row[name] for name in ("documents", "people", "erased_people", "erased")}
        with translated():
            async with self._sessions.begin() as session:
                if not (await session.execute(done.returning(BUILDS.c.build_id))).one_or_none():
                    return False
                await session.execute(kept.on_conflict_do_update(index_elements=["tenant_id", "digest"], set_=again))
                return True

    async def _taken(self, tenant_id: str, now: datetime) -> tuple[DatasetBuild, BuildOrder] | None:
        own = BUILDS.c.tenant_id == tenant_id
        lost = BuildLost("the process that worked on the build is gone")
        oldest = select(BUILDS.c.build_id).where(own, BUILDS.c.state == RunState.QUEUED.value)
        begun = update(BUILDS).where(
            own,
            BUILDS.c.build_id == oldest.order_by(BUILDS.c.created_at).limit(1).scalar_subquery(),
            BUILDS.c.state == RunState.QUEUED.value,
        )
        async with self._sessions.begin() as session:
            running = update(BUILDS).where(own, BUILDS.c.state == RunState.RUNNING.value)
            await session.execute(running.values(**failure(lost, now)))
            begun = begun.values(state=RunState.RUNNING.value, started_at=now)
            row = (await session.execute(begun.returning(BUILDS))).one_or_none()
            return (build_of(row), order_of(row)) if row else None

    async def _change(self, tenant_id: str, build_id: str, states: Collection[str], values: dict[str, Any]) -> bool:
        statement = update(BUILDS).where(*_is(tenant_id, build_id), BUILDS.c.state.in_(states)).values(**values)
        with translated():
            async with self._sessions.begin() as session:
                return (await session.execute(statement.returning(BUILDS.c.build_id))).one_or_none() is not None


class PostgresDatasets:
    """What is known of data sets. All methods raise StoreUnavailable when the database cannot be reached."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def find(self, identity: Identity, digest: str) -> KeptDataset:
        """Return a data set of the tenant.

        Raises:
            DatasetNotFound: it has none of this digest.
        """
        query = select(DATASETS).where(*_has(identity, digest))
        with translated():
            async with self._sessions() as session:
                row: Row[Any] | None = (await session.execute(query)).one_or_none()
        if row is None:
            raise DatasetNotFound("there is no such data set")
        return dataset_of(row)

    async def page(self, identity: Identity, after: Position | None, limit: int) -> list[KeptDataset]:
        """Return at most `limit` data sets of the tenant that come after a position, newest first."""
        query = select(DATASETS).where(DATASETS.c.tenant_id == identity.tenant_id)
        query = newest_first(query, (DATASETS.c.created_at, DATASETS.c.digest), after)
        with translated():
            async with self._sessions() as session:
                return [dataset_of(row) for row in await session.execute(query.limit(limit))]

    async def has(self, tenant_id: str, digest: str) -> bool:
        """Return whether a tenant has a data set whose rows are there."""
        query = select(DATASETS.c.digest).where(
            DATASETS.c.tenant_id == tenant_id, DATASETS.c.digest == digest, DATASETS.c.erased.is_(False)
        )
        with translated():
            async with self._sessions() as session:
                return (await session.execute(query)).one_or_none() is not None

    async def delete(self, identity: Identity, digest: str) -> None:
        """Forget a data set; one that is not there is forgotten already."""
        with translated():
            async with self._sessions.begin() as session:
                await session.execute(delete(DATASETS).where(*_has(identity, digest)))


def _is(tenant_id: str, build_id: str) -> tuple[Any, Any]:
    # PostgreSQL keeps no zero bytes, and refuses to look for them.
    return BUILDS.c.tenant_id == tenant_id, BUILDS.c.build_id == build_id.replace("\0", "")


def _has(identity: Identity, digest: str) -> tuple[Any, Any]:
    return DATASETS.c.tenant_id == identity.tenant_id, DATASETS.c.digest == digest.replace("\0", "")


async def _made(session: AsyncSession, identity: Identity, request_id: str) -> DatasetBuild | None:
    if not request_id or "\0" in request_id:
        return None
    own = (BUILDS.c.tenant_id == identity.tenant_id, BUILDS.c.request_id == request_id)
    row = (await session.execute(select(*SHOWN).where(*own))).one_or_none()
    return build_of(row) if row else None


async def _check_room(session: AsyncSession, tenant_id: str) -> None:
    query = select(func.count()).select_from(BUILDS)
    waiting = await session.scalar(query.where(BUILDS.c.tenant_id == tenant_id, BUILDS.c.state.in_(_WAITING)))
    if (waiting or 0) >= MAX_WAITING_BUILDS:
        raise TooManyBuilds("too many builds wait", limit=MAX_WAITING_BUILDS)
