"""Tenants and keys in PostgreSQL."""

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
    LargeBinary,
    Row,
    String,
    Table,
    false,
    func,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.ext.asyncio import AsyncSession

from services.common.access import Role
from services.common.database import Sessions, is_away, schema_metadata
from services.common.identity import Identity
from services.common.quotas import Quotas
from services.gateway.domain.keys import ApiKey, ApiKeyNotFound, KeyTerms, NewKey, StoredKey
from services.gateway.domain.quotas import limits_of
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
    Column("roles", ARRAY(String), nullable=False),
    Column("expires_at", DateTime(timezone=True)),
    Column("acts_for_users", Boolean, nullable=False, server_default=false()),
    Column("quota", JSONB, nullable=False, server_default="{}"),
    Index("ix_api_keys_newest", "tenant_id", "created_at", "key_id"),
)


class PostgresApiKeys:
    """ApiKeys in the table `api_keys`."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def find(self, key_id: str) -> StoredKey | None:
        query = select(API_KEYS).where(API_KEYS.c.key_id == key_id)
        async with transaction(self._sessions) as session:
            row = (await session.execute(query)).one_or_none()
        return _stored_key(row) if row else None

    async def create(self, identity: Identity, terms: KeyTerms, key: NewKey) -> ApiKey:
        values = {
            "key_id": key.key_id,
            "tenant_id": identity.tenant_id,
            "name": terms.name,
            "mac": key.mac,
            "roles": sorted(terms.roles),
            "expires_at": terms.expires_at,
            "acts_for_users": terms.acts_for_users,
            "quota": limits_of(terms.quota),
        }
        async with transaction(self._sessions) as session:
            await make_tenant(session, identity)
            return _api_key((await session.execute(insert(API_KEYS).values(values).returning(API_KEYS))).one())

    async def page(self, identity: Identity, after: tuple[datetime, str] | None, limit: int) -> Sequence[ApiKey]:
        table = API_KEYS.c
        query = select(API_KEYS).where(table.tenant_id == identity.tenant_id)
        if after is not None:
            query = query.where(tuple_(table.created_at, table.key_id) < after)
        query = query.order_by(table.created_at.desc(), table.key_id.desc()).limit(limit)
        async with transaction(self._sessions) as session:
            return [_api_key(row) for row in await session.execute(query)]

    async def revoke(self, identity: Identity, key_id: str) -> None:
        table = API_KEYS.c
        statement = (
            update(API_KEYS)
            .where(table.tenant_id == identity.tenant_id, table.key_id == key_id)
            .values(revoked_at=func.coalesce(table.revoked_at, func.now()))
            .returning(table.key_id)
        )
        async with transaction(self._sessions) as session:
            if (await session.execute(statement)).one_or_none() is None:
                raise ApiKeyNotFound("no such key", key_id=key_id)


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


async def make_tenant(session: AsyncSession, identity: Identity) -> None:
    """Make the tenant, where what comes now is the first that is kept of it."""
    await session.execute(insert(TENANTS).values(tenant_id=identity.tenant_id).on_conflict_do_nothing())


def _stored_key(row: Row[Any]) -> StoredKey:
    roles, revoked = frozenset(map(Role, row.roles)), row.revoked_at is not None
    return StoredKey(
        key_id=row.key_id,
        tenant_id=row.tenant_id,
        mac=row.mac,
        revoked=revoked,
        roles=roles,
        expires_at=row.expires_at,
        acts_for_users=row.acts_for_users,
        quota=Quotas(**row.quota),
    )


def _api_key(row: Row[Any]) -> ApiKey:
    stored = _stored_key(row)
    terms = KeyTerms(row.name, stored.roles, stored.expires_at, stored.acts_for_users, stored.quota)
    return ApiKey(row.key_id, row.tenant_id, terms, row.created_at, row.revoked_at)
