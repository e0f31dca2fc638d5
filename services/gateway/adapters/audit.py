"""The audit log in PostgreSQL."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import BigInteger, Column, DateTime, Identity, Index, Row, Select, String, Table, insert, select, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession

from services.common import identity as who
from services.common.database import Sessions
from services.gateway.adapters.postgres import METADATA, transaction
from services.gateway.domain.audit import AuditEvent, AuditFilter, AuditKind, GivenPassage, KeptEvent

AUDIT = Table(
    "audit",
    METADATA,
    Column("event_id", BigInteger, Identity(), primary_key=True),
    Column("tenant_id", String, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("kind", String, nullable=False),
    Column("subject", String, nullable=False),
    Column("actor", String, nullable=False),
    Column("rpc", String, nullable=False),
    Column("code", String, nullable=False),
    Column("request", JSONB, nullable=False),
    Column("trace_id", String, nullable=False),
    Column("passages", JSONB, nullable=False),
    Index("ix_audit_tenant", "tenant_id", "event_id"),
    Index("ix_audit_passages", text("passages jsonb_path_ops"), postgresql_using="gin"),
)


class PostgresAudit:
    """The table `audit`; whoever may write it may still not change or remove what is in it."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def add(self, events: Sequence[AuditEvent]) -> None:
        """Keep events, all or none.

        Raises:
            StoreUnavailable: the database cannot be reached; they may have been kept.
        """
        async with transaction(self._sessions) as session:
            await write(session, events)

    async def newest(
        self, identity: who.Identity, wanted: AuditFilter, before: int | None, limit: int
    ) -> Sequence[KeptEvent]:
        """Return at most `limit` of the tenant's events with ids below `before`, newest first.

        Raises:
            StoreUnavailable: the database cannot be reached.
        """
        query = _matching(identity, wanted).order_by(AUDIT.c.event_id.desc()).limit(limit)
        return await self._all(query if before is None else query.where(AUDIT.c.event_id < before))

    async def oldest(self, identity: who.Identity, wanted: AuditFilter, after: int, limit: int) -> Sequence[KeptEvent]:
        """Return at most `limit` of the tenant's events with ids above `after`, oldest first.

        Raises:
            StoreUnavailable: the database cannot be reached.
        """
        query = _matching(identity, wanted).where(AUDIT.c.event_id > after)
        return await self._all(query.order_by(AUDIT.c.event_id).limit(limit))

    async def _all(self, query: Select[Any]) -> Sequence[KeptEvent]:
        async with transaction(self._sessions) as session:
            return [_kept(row) for row in await session.execute(query)]


async def write(session: AsyncSession, events: Sequence[AuditEvent]) -> None:
    """Keep events as part of the caller's transaction."""
    await session.execute(insert(AUDIT), [_values(event) for event in events])


def _matching(identity: who.Identity, wanted: AuditFilter) -> Select[Any]:
    table = AUDIT.c
    query = select(AUDIT).where(table.tenant_id == identity.tenant_id)
    if wanted.kind:
        query = query.where(table.kind == wanted.kind.value)
    if wanted.subject:
        query = query.where(table.subject == wanted.subject)
    if wanted.document_id:
        query = query.where(table.passages.contains([{"document_id": wanted.document_id}]))
    if wanted.after:
        query = query.where(table.at >= wanted.after)
    if wanted.before:
        query = query.where(table.at < wanted.before)
    return query


def _values(event: AuditEvent) -> dict[str, Any]:
    values = {name: getattr(event, name) for name in ("tenant_id", "at", "subject", "actor", "rpc", "code", "trace_id")}
    passages = [asdict(passage) for passage in event.passages]
    return {**values, "kind": event.kind.value, "request": dict(event.request), "passages": passages}


def _kept(row: Row[Any]) -> KeptEvent:
    event = AuditEvent(
        tenant_id=row.tenant_id,
        at=row.at,
        kind=AuditKind(row.kind),
        subject=row.subject,
        actor=row.actor,
        rpc=row.rpc,
        code=row.code,
        trace_id=row.trace_id,
        request=row.request,
        passages=tuple(GivenPassage(**passage) for passage in row.passages),
    )
    return KeptEvent(row.event_id, event)
