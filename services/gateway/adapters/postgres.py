"""Tenants, keys and assistants in PostgreSQL."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import (
    ARRAY,
    Boolean,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Row,
    Select,
    String,
    Table,
    func,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from services.common.database import Sessions, is_away, schema_metadata
from services.gateway.domain.assistants import Assistant
from services.gateway.domain.keys import ApiKey, ApiKeyNotFound, NewKey, StoredKey
from services.gateway.ports import StoreUnavailable

SCHEMA = "gateway"
MIGRATIONS = Path(__file__).parents[1] / "migrations"

METADATA = schema_metadata(SCHEMA)
TENANTS = Table(
    "tenants",
    METADATA,
    Column("tenant_id", String, primary_key=True),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)
API_KEYS = Table(
    "api_keys",
    METADATA,
    Column("key_id", String, primary_key=True),
    Column("tenant_id", ForeignKey(TENANTS.c.tenant_id), nullable=False),
    Column("name", String, nullable=False),
    Column("mac", LargeBinary, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
    Column("revoked_at", DateTime(timezone=True)),
    Index("ix_api_keys_newest", "tenant_id", "created_at", "key_id"),
)
ASSISTANTS = Table(
    "assistants",
    METADATA,
    Column("tenant_id", ForeignKey(TENANTS.c.tenant_id), primary_key=True),
    # Byte order, so that pages follow each other as Python's strings do.
    Column("name", String(collation="C"), primary_key=True),
    Column("instructions", String, nullable=False),
    Column("sources", ARRAY(String), nullable=False),
    Column("adapter", String, nullable=False),
    Column("top_k", Integer, nullable=False),
    Column("without_retrieval", Boolean, nullable=False),
)

_SHOWN = (API_KEYS.c.key_id, API_KEYS.c.tenant_id, API_KEYS.c.name, API_KEYS.c.created_at, API_KEYS.c.revoked_at)


class PostgresApiKeys:
    """ApiKeys in the table `api_keys`."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def find(self, key_id: str) -> StoredKey | None:
        table = API_KEYS.c
        query = select(table.tenant_id, table.mac, table.revoked_at).where(table.key_id == key_id)
        async with transaction(self._sessions) as session:
            row = (await session.execute(query)).one_or_none()
        return StoredKey(key_id, row.tenant_id, row.mac, row.revoked_at is not None) if row else None

    async def create(self, tenant_id: str, name: str, key: NewKey) -> ApiKey:
        tenant = insert(TENANTS).values(tenant_id=tenant_id).on_conflict_do_nothing()
        values = {"key_id": key.key_id, "tenant_id": tenant_id, "name": name, "mac": key.mac}
        async with transaction(self._sessions) as session:
            await session.execute(tenant)
            row = (await session.execute(insert(API_KEYS).values(values).returning(*_SHOWN))).one()
        return ApiKey(**row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it

    async def page(self, tenant_id: str, after: tuple[datetime, str] | None, limit: int) -> Sequence[ApiKey]:
        table = API_KEYS.c
        query = select(*_SHOWN).where(table.tenant_id == tenant_id)
        if after is not None:
            query = query.where(tuple_(table.created_at, table.key_id) < after)
        query = query.order_by(table.created_at.desc(), table.key_id.desc()).limit(limit)
        async with transaction(self._sessions) as session:
            return [ApiKey(**row) for row in (await session.execute(query)).mappings()]

    async def revoke(self, tenant_id: str, key_id: str) -> None:
        table = API_KEYS.c
        statement = (
            update(API_KEYS)
            .where(table.tenant_id == tenant_id, table.key_id == key_id)
            .values(revoked_at=func.coalesce(table.revoked_at, func.now()))
            .returning(table.key_id)
        )
        async with transaction(self._sessions) as session:
            if (await session.execute(statement)).one_or_none() is None:
                raise ApiKeyNotFound("no such key", key_id=key_id)


class PostgresAssistants:
    """Assistants in the table `assistants`."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def find(self, tenant_id: str, name: str) -> Assistant | None:
        query = select(ASSISTANTS).where(ASSISTANTS.c.tenant_id == tenant_id, ASSISTANTS.c.name == name)
        found = await self._all(query)
        return found[0] if found else None

    async def put(self, tenant_id: str, assistant: Assistant) -> None:
        values = {
            "instructions": assistant.instructions,
            "sources": assistant.sources,
            "adapter": assistant.adapter,
            "top_k": assistant.top_k,
            "without_retrieval": assistant.without_retrieval,
        }
        statement = insert(ASSISTANTS).values(tenant_id=tenant_id, name=assistant.name, **values)
        async with transaction(self._sessions) as session:
            await session.execute(statement.on_conflict_do_update(index_elements=["tenant_id", "name"], set_=values))

    async def page(self, tenant_id: str, after: str, limit: int) -> Sequence[Assistant]:
        table = ASSISTANTS.c
        query = select(ASSISTANTS).where(table.tenant_id == tenant_id, table.name > after)
        return await self._all(query.order_by(table.name).limit(limit))

    async def _all(self, query: Select[Any]) -> Sequence[Assistant]:
        async with transaction(self._sessions) as session:
            return [_assistant(row) for row in await session.execute(query)]


@contextlib.asynccontextmanager
async def transaction(sessions: Sessions) -> AsyncIterator[AsyncSession]:
    """Give a transaction.

    Raises:
        StoreUnavailable: the database cannot be reached.
    """
    try:
        async with sessions.begin() as session:
            yield session
    except Exception as error:
        if is_away(error):
            raise StoreUnavailable("the database cannot be reached") from error
        raise


def _assistant(row: Row[Any]) -> Assistant:
    return Assistant(row.name, row.instructions, tuple(row.sources), row.adapter, row.top_k, row.without_retrieval)
