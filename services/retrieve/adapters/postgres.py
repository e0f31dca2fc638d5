"""Tunings in PostgreSQL: a row a version, none ever changed."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Column, DateTime, Row, Select, String, Table, delete, select
from sqlalchemy.dialects.postgresql import JSONB, insert

from services.common.database import Sessions, is_away, schema_metadata
from services.common.identity import Identity
from services.common.recent import Recent
from services.retrieve.domain.tuning import (
    NONE_PUT,
    KeptTuning,
    Tuning,
    TuningChanged,
    TuningNotFound,
    TuningUnavailable,
)

SCHEMA = "retrieve"
# How long a replica may go by what it read.
CACHE_SECONDS = 0.5

METADATA = schema_metadata(SCHEMA)
TUNINGS = Table(
    "tunings",
    METADATA,
    Column("tenant_id", String, primary_key=True),
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("content", JSONB, nullable=False),
    Column("put_at", DateTime(timezone=True), nullable=False),
)


class PostgresTunings:
    """A Tunings in PostgreSQL; what is live is asked for at most twice a second and tenant."""

    def __init__(self, sessions: Sessions, now: Callable[[], datetime], cache_seconds: float = CACHE_SECONDS) -> None:
        self._sessions = sessions
        self._now = now
        self._recent = Recent(self._newest, cache_seconds)

    async def live(self, identity: Identity) -> KeptTuning:
        return await self._recent.get(identity.tenant_id)

    async def version(self, identity: Identity, version: int) -> KeptTuning:
        rows = await self._all(_of(identity.tenant_id).where(TUNINGS.c.version == version))
        if not rows:
            raise TuningNotFound("there is no such version of the tuning", version=version)
        return rows[0]

    async def before(self, identity: Identity, version: int | None, limit: int) -> Sequence[KeptTuning]:
        query = _of(identity.tenant_id).limit(limit)
        return await self._all(query if version is None else query.where(TUNINGS.c.version < version))

    async def put(self, identity: Identity, tuning: Tuning, expected: int) -> KeptTuning:
        live = (await self._newest(identity.tenant_id)).version
        if live != expected:
            raise TuningChanged("the tuning is not what you have seen", version=live)
        kept = KeptTuning(expected + 1, tuning, self._now())
        row = {"tenant_id": identity.tenant_id, "version": kept.version, "content": asdict(tuning)}
        statement = insert(TUNINGS).values(**row, put_at=kept.put_at).on_conflict_do_nothing()
        with _translated():
            async with self._sessions.begin() as session:
                changed = (await session.execute(statement.returning(TUNINGS.c.version))).one_or_none()
        self._recent.forget(identity.tenant_id)
        if changed is None:
            raise TuningChanged("somebody else was faster", version=kept.version)
        return kept

    async def erase(self, identity: Identity) -> int:
        """Remove every version of the tenant, and return how many there were."""
        with _translated():
            async with self._sessions.begin() as session:
                gone = delete(TUNINGS).where(TUNINGS.c.tenant_id == identity.tenant_id).returning(TUNINGS.c.version)
                count = len((await session.execute(gone)).all())
        self._recent.forget(identity.tenant_id)
        return count

    async def _newest(self, tenant_id: str) -> KeptTuning:
        rows = await self._all(_of(tenant_id).limit(1))
        return rows[0] if rows else NONE_PUT

    async def _all(self, query: Select[Any]) -> list[KeptTuning]:
        with _translated():
            async with self._sessions() as session:
                return [_kept(row) for row in (await session.execute(query)).all()]


def _of(tenant_id: str) -> Select[Any]:
    return select(TUNINGS).where(TUNINGS.c.tenant_id == tenant_id).order_by(TUNINGS.c.version.desc())


def _kept(row: Row[Any]) -> KeptTuning:
    content: Mapping[str, Any] = row.content
    return KeptTuning(row.version, Tuning(**content), row.put_at)


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Raise TuningUnavailable for a database that is not there."""
    try:
        yield
    except Exception as error:
        if is_away(error):
            raise TuningUnavailable("how searches rank cannot be looked up") from error
        raise
