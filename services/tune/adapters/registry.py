"""Adapters and what replicas report of them, in PostgreSQL."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ARRAY, Select, String, any_, delete, func, literal, select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncSession

from services.common.database import Sessions
from services.common.lora.store import AdapterStore
from services.tune.adapters.registry_tables import (
    ADAPTERS,
    ALIASES,
    CANARIES,
    REPLICAS,
    TENANT_LOCK,
    adapter_of,
    adapter_row,
    replica_of,
)
from services.tune.adapters.tables import newest_first, translated
from services.tune.domain.adapters import RegisteredAdapter
from services.tune.domain.canaries import CanaryState
from services.tune.domain.registry import KeptAdapter, Readiness, ReplicaReport
from services.tune.domain.registry_errors import AdapterInUse, AdapterNotFound
from services.tune.domain.runs import Position

# A replica that was not heard of for so long is not coming back: another start has another id.
FORGOTTEN_AFTER = timedelta(hours=1)


class PostgresAdapters:
    """The adapters of all tenants; an entry never changes. Implements ports.AdapterRegistry.

    All methods raise StoreUnavailable when the database cannot be reached.
    """

    def __init__(self, sessions: Sessions, store: AdapterStore) -> None:
        self._sessions = sessions
        self._store = store

    async def register(self, entry: RegisteredAdapter) -> None:
        """Keep an adapter with all that is known of it; one that is there stays as it was."""
        with translated():
            async with self._sessions.begin() as session:
                await session.execute(upsert(ADAPTERS).values(adapter_row(entry)).on_conflict_do_nothing())

    async def live(self, tenant_id: str, alias: str) -> str:
        """Return the digest that an alias points at; "" for the base model, or where there is no such alias."""
        query = select(ALIASES.c.digest).where(
            ALIASES.c.tenant_id == tenant_id, ALIASES.c.alias == alias.replace("\0", ""), ALIASES.c.deleted.is_(False)
        )
        with translated():
            async with self._sessions() as session:
                return await session.scalar(query) or ""

    async def find(self, tenant_id: str, digest: str) -> KeptAdapter:
        """Return an adapter of the tenant.

        Raises:
            AdapterNotFound: it has none of this digest.
        """
        found = await self._all(tenant_id, _adapters(tenant_id).where(ADAPTERS.c.digest == digest.replace("\0", "")))
        if not found:
            raise AdapterNotFound("no such adapter")
        return found[0]

    async def page(self, tenant_id: str, after: Position | None, limit: int) -> list[KeptAdapter]:
        """Return at most `limit` adapters of the tenant that come after a position, newest first."""
        query = newest_first(_adapters(tenant_id), (ADAPTERS.c.created_at, ADAPTERS.c.digest), after)
        return await self._all(tenant_id, query.limit(limit))

    async def delete(self, tenant_id: str, digest: str) -> None:
        """Remove an adapter with its files.

        Raises:
            AdapterNotFound: the tenant has none of this digest.
            AdapterInUse: an alias or a canary points at it.
            AdapterMissing: the blob store cannot be reached; the adapter stays.
        """
        # PostgreSQL keeps no zero bytes, and refuses to look for them.
        digest = digest.replace("\0", "")
        gone = delete(ADAPTERS).where(ADAPTERS.c.tenant_id == tenant_id, ADAPTERS.c.digest == digest)
        with translated():
            async with self._sessions.begin() as session:
                await session.execute(TENANT_LOCK, {"tenant": tenant_id})
                if users := (await _users(session, tenant_id, (digest,))).get(digest):
                    raise AdapterInUse("an alias points at the adapter", aliases=", ".join(users[:10]))
                if not (await session.scalars(gone.returning(ADAPTERS.c.digest))).all():
                    raise AdapterNotFound("no such adapter")
                own = (REPLICAS.c.tenant_id == tenant_id) & (REPLICAS.c.digest == digest)
                await session.execute(delete(REPLICAS).where(own))
                await self._store.remove(tenant_id, digest)

    async def note_replicas(self, reports: Sequence[ReplicaReport]) -> None:
        """Keep what replicas said last; what was unloaded is forgotten, and so are replicas that are gone."""
        with translated():
            async with self._sessions.begin() as session:
                for report in reports:
                    await _note(session, report)
                newest = max(report.reported_at for report in reports)
                await session.execute(delete(REPLICAS).where(REPLICAS.c.reported_at < newest - FORGOTTEN_AFTER))

    async def replicas(self, tenant_id: str, digests: Collection[str]) -> list[ReplicaReport]:
        """Return what replicas said last of these adapters."""
        query = select(REPLICAS).where(REPLICAS.c.tenant_id == tenant_id, REPLICAS.c.digest == _any_of(digests))
        with translated():
            async with self._sessions() as session:
                found = await session.execute(
                    query.order_by(REPLICAS.c.digest, REPLICAS.c.alias, REPLICAS.c.replica_id)
                )
                return [replica_of(row) for row in found]

    async def readiness(self, since: datetime) -> dict[Readiness, int]:
        """Return how many adapters are in each state on replicas that were heard of since, one for each of both."""
        query = select(REPLICAS.c.readiness, func.count().label("number")).where(REPLICAS.c.reported_at >= since)
        with translated():
            async with self._sessions() as session:
                found = await session.execute(query.group_by(REPLICAS.c.readiness))
                return {Readiness(row.readiness): row.number for row in found}

    async def _all(self, tenant_id: str, query: Select[Any]) -> list[KeptAdapter]:
        with translated():
            async with self._sessions() as session:
                rows = (await session.execute(query)).all()
                users = await _users(session, tenant_id, [row.digest for row in rows]) if rows else {}
        return [adapter_of(row, tuple(users.get(row.digest, ()))) for row in rows]


def _adapters(tenant_id: str) -> Select[Any]:
    return select(ADAPTERS).where(ADAPTERS.c.tenant_id == tenant_id)


def _any_of(names: Collection[str]) -> Any:
    return any_(literal(sorted(names), ARRAY(String)))


async def _users(session: AsyncSession, tenant_id: str, digests: Collection[str]) -> dict[str, list[str]]:
    """Return the aliases that point at, or try, each of these."""
    wanted = _any_of(digests)
    running = CANARIES.c.state == CanaryState.RUNNING.value
    tried = select(CANARIES.c.alias, CANARIES.c.digest).where(
        CANARIES.c.tenant_id == tenant_id, running, CANARIES.c.digest == wanted
    )
    live = select(ALIASES.c.alias, ALIASES.c.digest).where(
        ALIASES.c.tenant_id == tenant_id, ALIASES.c.deleted.is_(False), ALIASES.c.digest == wanted
    )
    users: dict[str, list[str]] = {}
    for row in await session.execute(live.union(tried).order_by("alias")):
        users.setdefault(row.digest, []).append(row.alias)
    return users


async def _note(session: AsyncSession, report: ReplicaReport) -> None:
    own = (
        (REPLICAS.c.tenant_id == report.tenant_id)
        & (REPLICAS.c.digest == report.digest)
        & (REPLICAS.c.alias == report.alias)
        & (REPLICAS.c.replica_id == report.replica_id)
    )
    if report.readiness is Readiness.UNLOADED:
        await session.execute(delete(REPLICAS).where(own, REPLICAS.c.reported_at <= report.reported_at))
        return
    row = {column.name: getattr(report, column.name) for column in REPLICAS.c} | {"readiness": report.readiness.value}
    statement = upsert(REPLICAS).values(row)
    newer = statement.on_conflict_do_update(
        index_elements=["tenant_id", "digest", "alias", "replica_id"],
        set_=row,
        where=REPLICAS.c.reported_at <= report.reported_at,
    )
    await session.execute(newer)
