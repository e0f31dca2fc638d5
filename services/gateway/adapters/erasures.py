"""Erasures in PostgreSQL, and the removal of what the gateway itself keeps."""

import contextlib
import secrets
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Column,
    DateTime,
    Index,
    Row,
    String,
    Table,
    column,
    delete,
    func,
    select,
    table,
    text,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, insert
from sqlalchemy.ext.asyncio import AsyncSession

from services.common.database import Sessions
from services.common.identity import Identity
from services.gateway.adapters import audit
from services.gateway.adapters.postgres import METADATA, transaction
from services.gateway.domain.audit import AuditEvent, AuditKind
from services.gateway.domain.erasures import SUBJECT, Erasure, ErasureNotFound, Removal, added
from services.gateway.domain.people import USER

ERASURES = Table(
    "erasures",
    METADATA,
    Column("erasure_id", String, primary_key=True),
    Column("tenant_id", String, nullable=False),
    Column("user_id", String, nullable=False),
    Column("principals", ARRAY(String), nullable=False),
    Column("requested_by", String, nullable=False),
    Column("removed", JSONB, nullable=False),
    Column("stale_adapters", ARRAY(String), nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
    Column("finished_at", DateTime(timezone=True)),
    Index("uq_erasures_running", "tenant_id", "user_id", unique=True, postgresql_where=text("finished_at IS NULL")),
)

# Whatever the gateway keeps of a tenant but its audit log and its erasures, so that nothing refers
# to what is gone.
_OWN = ("memberships", "aliases", "groups", "users", "assistant_versions", "assistants", "api_keys", "tenants")

_NAMES = text(
    "SELECT user_id, alias FROM gateway.aliases WHERE tenant_id = :tenant AND user_id = ("
    " SELECT user_id FROM gateway.users WHERE tenant_id = :tenant AND user_id = :name UNION"
    " SELECT user_id FROM gateway.aliases WHERE tenant_id = :tenant AND alias = :name LIMIT 1)"
)
_FORGET_PERSON = {
    "memberships": text("DELETE FROM gateway.memberships WHERE tenant_id = :tenant AND member = ANY(:principals)"),
    "aliases": text("DELETE FROM gateway.aliases WHERE tenant_id = :tenant AND user_id = :user"),
    "users": text("DELETE FROM gateway.users WHERE tenant_id = :tenant AND user_id = :user"),
}
_REVOKE = text(
    "UPDATE gateway.api_keys SET revoked_at = now()"
    " WHERE tenant_id = :tenant AND revoked_at IS NULL AND NOT key_id = ANY(:but)"
)


class PostgresErasures:
    """The table `erasures`."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def begin_user(self, identity: Identity, name: str) -> Erasure:
        """Begin to erase who has this id or alias, and forget them in the directory; or return what runs already.

        Raises:
            StoreUnavailable: the database cannot be reached.
        """
        async with transaction(self._sessions) as session:
            if running := await _running(session, identity.tenant_id, USER + name):
                return running
            user_id, names = await _names_of(session, identity.tenant_id, name)
            principals = sorted({USER + each for each in (user_id, name, *names)})
            begun = await _insert(session, identity, user_id, principals)
            removed = await _forget_person(session, begun)
            return await _save(session, begun, Removal(removed))

    async def begin_tenant(self, identity: Identity, but_key: str | None) -> Erasure:
        """Begin to erase the caller's tenant, and revoke its keys but one; or return what runs already.

        Raises:
            StoreUnavailable: the database cannot be reached.
        """
        async with transaction(self._sessions) as session:
            begun = await _insert(session, identity, "", ())
            await session.execute(_REVOKE, {"tenant": identity.tenant_id, "but": [but_key] if but_key else []})
            return begun

    async def find(self, identity: Identity, erasure_id: str) -> Erasure:
        """Return an erasure of the tenant.

        Raises:
            ErasureNotFound: there is none of this id.
            StoreUnavailable: the database cannot be reached.
        """
        table = ERASURES.c
        query = select(ERASURES).where(table.tenant_id == identity.tenant_id, table.erasure_id == erasure_id)
        async with transaction(self._sessions) as session:
            if row := (await session.execute(query)).one_or_none():
                return _erasure(row)
        raise ErasureNotFound("no such erasure", erasure_id=erasure_id)

    async def page(self, identity: Identity, after: tuple[datetime, str] | None, limit: int) -> Sequence[Erasure]:
        """Return at most `limit` of the tenant's erasures begun before that time (and id), newest first.

        Raises:
            StoreUnavailable: the database cannot be reached.
        """
        table = ERASURES.c
        query = select(ERASURES).where(table.tenant_id == identity.tenant_id)
        if after is not None:
            query = query.where(tuple_(table.created_at, table.erasure_id) < after)
        query = query.order_by(table.created_at.desc(), table.erasure_id.desc()).limit(limit)
        async with transaction(self._sessions) as session:
            return [_erasure(row) for row in await session.execute(query)]

    async def unfinished(self) -> Sequence[str]:
        """Return the ids of all erasures that are not done, of every tenant, oldest first.

        Raises:
            StoreUnavailable: the database cannot be reached.
        """
        query = select(ERASURES.c.erasure_id).where(ERASURES.c.finished_at.is_(None)).order_by(ERASURES.c.created_at)
        async with transaction(self._sessions) as session:
            return list((await session.scalars(query)).all())

    @contextlib.asynccontextmanager
    async def claim(self, erasure_id: str) -> AsyncIterator["Claim | None"]:
        """Give an unfinished erasure to one replica alone, as long as this lasts; None where another has it.

        Raises:
            StoreUnavailable: the database cannot be reached.
        """
        query = select(ERASURES).where(ERASURES.c.erasure_id == erasure_id, ERASURES.c.finished_at.is_(None))
        async with transaction(self._sessions) as session:
            row = (await session.execute(query.with_for_update(skip_locked=True))).one_or_none()
            yield Claim(session, _erasure(row)) if row else None


class Claim:
    """An erasure in the hands of one replica; what it does is kept when the claim ends well."""

    def __init__(self, session: AsyncSession, erasure: Erasure) -> None:
        self._session = session
        self.erasure = erasure

    async def add(self, removal: Removal) -> None:
        """Add what was removed."""
        self.erasure = await _save(self._session, self.erasure, removal)

    async def revoke_keys(self) -> None:
        """Revoke whatever keys the tenant has left."""
        await self._session.execute(_REVOKE, {"tenant": self.erasure.tenant_id, "but": []})

    async def finish(self, now: datetime) -> None:
        """Remove what the gateway itself keeps, and put down that the erasure is done, here and in the audit log."""
        removed = await (_forget_tenant if self.erasure.is_of_tenant else _forget_person)(self._session, self.erasure)
        await self.add(Removal(removed))
        statement = update(ERASURES).where(ERASURES.c.erasure_id == self.erasure.erasure_id)
        await self._session.execute(statement.values(finished_at=now, principals=[]))
        await audit.write(self._session, [_done_event(self.erasure, now)])


async def _running(session: AsyncSession, tenant_id: str, principal: str) -> Erasure | None:
    table = ERASURES.c
    query = select(ERASURES).where(
        table.tenant_id == tenant_id, table.finished_at.is_(None), table.principals.contains([principal])
    )
    row = (await session.execute(query.limit(1))).one_or_none()
    return _erasure(row) if row else None


async def _names_of(session: AsyncSession, tenant_id: str, name: str) -> tuple[str, Iterable[str]]:
    """Return the id of who has this id or alias, and all aliases; an unknown name is an id."""
    rows = (await session.execute(_NAMES, {"tenant": tenant_id, "name": name})).all()
    return (rows[0].user_id if rows else name), [row.alias for row in rows]


async def _insert(session: AsyncSession, identity: Identity, user_id: str, principals: Sequence[str]) -> Erasure:
    values = {
        "erasure_id": secrets.token_hex(8),
        "tenant_id": identity.tenant_id,
        "user_id": user_id,
        "principals": list(principals),
        "requested_by": identity.actor or identity.subject,
        "removed": {},
        "stale_adapters": [],
    }
    # Of several who ask at once, one makes the row, and all get it.
    statement = (
        insert(ERASURES)
        .values(values)
        .on_conflict_do_update(
            index_elements=["tenant_id", "user_id"],
            index_where=text("finished_at IS NULL"),
            set_={"user_id": user_id},
        )
    )
    return _erasure((await session.execute(statement.returning(ERASURES))).one())


async def _save(session: AsyncSession, erasure: Erasure, removal: Removal) -> Erasure:
    stale = sorted({*erasure.stale_adapters, *removal.stale_adapters})
    values = {"removed": added(erasure.removed, removal.removed), "stale_adapters": stale}
    statement = update(ERASURES).where(ERASURES.c.erasure_id == erasure.erasure_id).values(values)
    return _erasure((await session.execute(statement.returning(ERASURES))).one())


async def _forget_person(session: AsyncSession, erasure: Erasure) -> dict[str, int]:
    values = {"tenant": erasure.tenant_id, "user": erasure.user_id, "principals": list(erasure.principals)}
    return {kind: await _count(session, statement, values) for kind, statement in _FORGET_PERSON.items()}


async def _forget_tenant(session: AsyncSession, erasure: Erasure) -> dict[str, int]:
    removed = {}
    for kind in _OWN:
        own = table(kind, column("tenant_id"), schema=METADATA.schema)
        removed[kind] = await _count(session, delete(own).where(own.c.tenant_id == erasure.tenant_id), {})
    return removed


async def _count(session: AsyncSession, statement: Any, values: dict[str, Any]) -> int:
    result: Any = await session.execute(statement, values)
    return int(result.rowcount)


def _done_event(erasure: Erasure, now: datetime) -> AuditEvent:
    request = {
        "erasure_id": erasure.erasure_id,
        "removed": dict(erasure.removed),
        "stale_adapters": list(erasure.stale_adapters),
    }
    name = "EraseTenant" if erasure.is_of_tenant else "EraseUser"
    return AuditEvent(
        tenant_id=erasure.tenant_id,
        at=now,
        kind=AuditKind.ACT,
        subject=SUBJECT,
        actor="",
        rpc=f"/tandem.gateway.v1.ErasureService/{name}",
        code="OK",
        request=request,
    )


def _erasure(row: Row[Any]) -> Erasure:
    return Erasure(
        erasure_id=row.erasure_id,
        tenant_id=row.tenant_id,
        user_id=row.user_id,
        created_at=row.created_at,
        principals=tuple(row.principals),
        removed=row.removed,
        stale_adapters=tuple(row.stale_adapters),
        finished_at=row.finished_at,
    )
