"""The rows of `ingest.secrets`, inside the caller's transaction."""

from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import Row, delete, func, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from services.common.identity import Identity
from services.common.secrets import Sealed
from services.ingest.adapters.tables import SECRETS

COLUMNS = SECRETS.c


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret, without what it holds."""

    name: str
    updated_at: datetime
    key_id: str


@dataclass(frozen=True, slots=True)
class Kept:
    """A secret where it is kept."""

    tenant_id: str
    name: str
    sealed: Sealed


async def put(session: AsyncSession, identity: Identity, secret: Secret, sealed: Sealed) -> None:
    """Create or replace a tenant's secret."""
    row = {"tenant_id": identity.tenant_id, "name": secret.name, "updated_at": secret.updated_at, **asdict(sealed)}
    statement = insert(SECRETS).values(row)
    await session.execute(statement.on_conflict_do_update(index_elements=[COLUMNS.tenant_id, COLUMNS.name], set_=row))


async def page(session: AsyncSession, identity: Identity, after: str, limit: int) -> list[Secret]:
    """Return a tenant's secrets by name, those after `after`."""
    query = select(COLUMNS.name, COLUMNS.updated_at, COLUMNS.key_id).where(
        COLUMNS.tenant_id == identity.tenant_id, COLUMNS.name > after
    )
    rows = await session.execute(query.order_by(COLUMNS.name).limit(limit))
    return [Secret(row.name, row.updated_at, row.key_id) for row in rows]


async def remove(session: AsyncSession, identity: Identity, name: str) -> None:
    """Remove a tenant's secret; one that is not there is removed already."""
    await session.execute(delete(SECRETS).where(COLUMNS.tenant_id == identity.tenant_id, COLUMNS.name == name))


async def count(session: AsyncSession) -> int:
    """Return how many secrets there are, of all tenants."""
    return (await session.execute(select(func.count()).select_from(SECRETS))).scalar_one()


async def lock_under_others(session: AsyncSession, key_id: str, after: tuple[str, str], limit: int) -> list[Kept]:
    """Return and lock the secrets of all tenants that are not under this key, in order, those after `after`."""
    query = select(SECRETS).where(COLUMNS.key_id != key_id, tuple_(COLUMNS.tenant_id, COLUMNS.name) > tuple_(*after))
    query = query.order_by(COLUMNS.tenant_id, COLUMNS.name).limit(limit).with_for_update()
    return [_kept_of(row) for row in await session.execute(query)]


async def rewrapped(session: AsyncSession, kept: Kept) -> None:
    """Write down under which key a secret is now."""
    where = (COLUMNS.tenant_id == kept.tenant_id) & (COLUMNS.name == kept.name)
    values = {"key_id": kept.sealed.key_id, "wrapped_key": kept.sealed.wrapped_key}
    await session.execute(update(SECRETS).where(where).values(values))


def _kept_of(row: Row[tuple[object, ...]]) -> Kept:
    return Kept(row.tenant_id, row.name, Sealed(row.key_id, row.wrapped_key, row.sealed))
