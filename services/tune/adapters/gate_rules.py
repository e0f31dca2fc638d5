"""The gate's rules in PostgreSQL, version by version, and what of them an erasure removes."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ARRAY, BigInteger, Column, DateTime, Row, String, Table, any_, delete, literal, select, update
from sqlalchemy import text as sql
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from services.common.database import Sessions
from services.common.identity import Identity
from services.tune.adapters.tables import METADATA, translated
from services.tune.domain.gate_rules import KeptRules, RulesChanged, RulesNotFound, rules_of

KEPT_VERSIONS = 200
RULES = Table(
    "gate_rules",
    METADATA,
    Column("tenant_id", String, primary_key=True),
    Column("version", BigInteger, primary_key=True),
    Column("content", String, nullable=False),
    Column("subject", String, nullable=False),
    Column("put_at", DateTime(timezone=True), nullable=False),
)
_PUT_LOCK = sql("SELECT pg_advisory_xact_lock(hashtextextended('tune.gate_rules/' || :tenant, 0))")


class PostgresGateRules:
    """The rules of one tenant at a time. All methods raise StoreUnavailable when the database cannot be reached."""

    def __init__(self, sessions: Sessions, default: str) -> None:
        """`default` is what holds where a tenant has put nothing.

        Raises:
            InvalidRules: it is none.
        """
        rules_of(default.encode())
        self._sessions = sessions
        self._default = KeptRules(0, default)

    async def live(self, identity: Identity) -> KeptRules:
        """Return the rules that hold for the tenant now."""
        with translated():
            async with self._sessions() as session:
                return await self._newest(session, identity)

    async def find(self, identity: Identity, version: int) -> KeptRules:
        """Return a version of the rules.

        Raises:
            RulesNotFound: the tenant has none of this number.
        """
        query = select(RULES).where(RULES.c.tenant_id == identity.tenant_id, RULES.c.version == version)
        with translated():
            async with self._sessions() as session:
                row = (await session.execute(query)).one_or_none()
        if row is None:
            raise RulesNotFound("the gate's rules have no such version", version=version)
        return _kept(row)

    async def put(self, identity: Identity, content: str, expected_version: int, now: datetime) -> KeptRules:
        """Have other rules hold, and return them; those that hold already stay as they are.

        Raises:
            RulesChanged: other rules hold than the caller has seen.
        """
        with translated():
            async with self._sessions.begin() as session:
                await session.execute(_PUT_LOCK, {"tenant": identity.tenant_id})
                live = await self._newest(session, identity)
                if live.version and live.content == content:
                    return live
                if live.version != expected_version:
                    raise RulesChanged("other rules hold by now", version=live.version)
                kept = KeptRules(live.version + 1, content, identity.subject, now)
                await session.execute(insert(RULES).values(_row(identity, kept)))
                old = RULES.c.version <= kept.version - KEPT_VERSIONS
                await session.execute(delete(RULES).where(RULES.c.tenant_id == identity.tenant_id, old))
                return kept

    async def page(self, identity: Identity, before: int, limit: int) -> list[KeptRules]:
        """Return at most `limit` versions below one, newest first; 0 begins with the newest."""
        query = select(RULES).where(RULES.c.tenant_id == identity.tenant_id)
        if before:
            query = query.where(RULES.c.version < before)
        with translated():
            async with self._sessions() as session:
                rows = await session.execute(query.order_by(RULES.c.version.desc()).limit(limit))
                return list(map(_kept, rows))

    async def _newest(self, session: AsyncSession, identity: Identity) -> KeptRules:
        query = select(RULES).where(RULES.c.tenant_id == identity.tenant_id).order_by(RULES.c.version.desc())
        row = (await session.execute(query.limit(1))).one_or_none()
        return self._default if row is None else _kept(row)


async def erase_rules(session: AsyncSession, tenant_id: str, subjects: Sequence[str] | None) -> dict[str, int]:
    """Remove these subjects' names from the rules that they have put; None removes all of the tenant's rules.

    Returns how many of each kind were removed.
    """
    own = RULES.c.tenant_id == tenant_id
    if subjects is None:
        gone = await session.scalars(delete(RULES).where(own).returning(RULES.c.version))
        return {"gate rules": len(list(gone))}
    theirs = update(RULES).where(own, RULES.c.subject == any_(literal(list(subjects), ARRAY(String))))
    nameless = await session.scalars(theirs.values(subject="").returning(RULES.c.version))
    return {"names in gate rules": len(list(nameless))}


def _kept(row: Row[Any]) -> KeptRules:
    return KeptRules(row.version, row.content, row.subject, row.put_at)


def _row(identity: Identity, kept: KeptRules) -> dict[str, object]:
    return {
        "tenant_id": identity.tenant_id,
        "version": kept.version,
        "content": kept.content,
        "subject": kept.subject,
        "put_at": kept.put_at,
    }
