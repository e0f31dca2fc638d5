"""PostgreSQL: the engine, sessions, and migrations at start."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import structlog
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, MetaData, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine

from services.common.faults import described

Sessions = async_sessionmaker[AsyncSession]

MIGRATION_LOCK = 7_406_261  # any number, the same in every replica
RETRY_SECONDS = 0.5

log = structlog.get_logger()


def schema_metadata(schema: str) -> MetaData:
    """Return the metadata of a service's own tables, in the service's own schema."""
    return MetaData(
        schema=schema,
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        },
    )


@contextlib.asynccontextmanager
async def open_database(url: str, migrations: Path, schema: str) -> AsyncIterator[Sessions]:
    """Give sessions on a database whose `schema` is migrated to its head.

    `url` is SQLAlchemy's, with the asyncpg driver. Waits for a database that is not there
    yet. Replicas that start together migrate one after the other.
    """
    engine = create_async_engine(url, pool_pre_ping=True, hide_parameters=True, pool_size=10, max_overflow=10)
    try:
        await _migrate_when_there(engine, migrations, schema)
        yield async_sessionmaker(engine, expire_on_commit=False)
    finally:
        await engine.dispose()


async def ping(sessions: Sessions) -> None:
    """Raise unless the database answers."""
    async with sessions() as session:
        await session.execute(text("SELECT 1"))


def is_away(error: Exception) -> bool:
    """Return whether `error` says that the database cannot be reached now: it is down, starting or stopping."""
    if isinstance(error, DBAPIError):
        # SQLSTATE 08 is a broken connection, 57P a server that starts, stops or lost a process.
        state = str(getattr(error.orig, "sqlstate", None) or "")
        return error.connection_invalidated or state.startswith(("08", "57P"))
    return isinstance(error, OSError | PoolTimeoutError)


async def _migrate_when_there(engine: AsyncEngine, migrations: Path, schema: str) -> None:
    while True:
        try:
            async with engine.begin() as connection:
                await connection.run_sync(_migrate, migrations, schema)
        except Exception as error:
            if not is_away(error):
                raise
            log.warning("database_unavailable", error=described(error))
            await asyncio.sleep(RETRY_SECONDS)
        else:
            return


def _migrate(connection: Connection, migrations: Path, schema: str) -> None:
    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": MIGRATION_LOCK})
    connection.execute(text(f'CREATE SCHEMA IF NOT EXISTS "{schema}"'))
    config = Config()
    config.set_main_option("script_location", str(migrations))
    config.attributes["connection"] = connection
    config.attributes["schema"] = schema
    command.upgrade(config, "head")
