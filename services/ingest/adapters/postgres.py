"""Transactions on the manifest's database, with its faults in our words."""

import contextlib
from collections.abc import AsyncIterator

import asyncpg
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncSession

from services.common.database import Sessions
from services.ingest.errors import ManifestUnavailable


@contextlib.asynccontextmanager
async def transaction(sessions: Sessions) -> AsyncIterator[AsyncSession]:
    """Give a session whose work is committed at the end, or not at all.

    Raises:
        ManifestUnavailable: the database did not take it, or did not answer.
    """
    try:
        async with sessions.begin() as session:
            yield session
    except (DataError, IntegrityError, ProgrammingError):
        raise
    except (DBAPIError, PoolTimeoutError, asyncpg.PostgresError, OSError) as error:
        raise ManifestUnavailable("the manifest cannot be reached") from error
