"""People who were erased, in PostgreSQL."""

import contextlib
from collections.abc import Collection, Iterator

from sqlalchemy import Column, String, Table, any_, delete, literal, select
from sqlalchemy.dialects.postgresql import ARRAY, insert

from services.common.database import Sessions, is_away, schema_metadata
from services.common.identity import Identity
from services.generate.domain.errors import StoreUnavailable

SCHEMA = "generate"

METADATA = schema_metadata(SCHEMA)
ERASED = Table(
    "erased_people",
    METADATA,
    Column("tenant_id", String, primary_key=True),
    Column("principal", String, primary_key=True),
)


class PostgresErasedPeople:
    """ErasedPeople that outlive every restart, and are the same for all replicas."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def add(self, identity: Identity, principals: Collection[str]) -> None:
        rows = [{"tenant_id": identity.tenant_id, "principal": name} for name in sorted(set(principals))]
        with _translated():
            async with self._sessions.begin() as session:
                await session.execute(insert(ERASED).on_conflict_do_nothing(), rows)

    async def among(self, identity: Identity, principals: Collection[str]) -> set[str]:
        named = any_(literal(list(principals), ARRAY(String)))
        query = select(ERASED.c.principal).where(ERASED.c.tenant_id == identity.tenant_id, ERASED.c.principal == named)
        with _translated():
            async with self._sessions() as session:
                return set(await session.scalars(query))

    async def forget(self, identity: Identity) -> None:
        with _translated():
            async with self._sessions.begin() as session:
                await session.execute(delete(ERASED).where(ERASED.c.tenant_id == identity.tenant_id))


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Raise StoreUnavailable for a database that is not there."""
    try:
        yield
    except Exception as error:
        if is_away(error):
            raise StoreUnavailable("who was erased cannot be looked up") from error
        raise
