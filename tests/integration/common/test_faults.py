"""What a real PostgreSQL says of the values that it refuses stays out of our logs, and out of its own."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from services.cli import parts, postgres
from services.common.faults import described, trace_of
from tests.conftest import running

TEXT = "the salary of Ada"
REFUSED = [
    ("INSERT INTO kept VALUES (:text), (:text)", "SQLSTATE 23505"),
    ("SELECT CAST(CAST(:text AS text) AS integer)", "SQLSTATE 22P02"),
    (f"SELECT 1 FROM nowhere WHERE name = '{TEXT}' OR name = :text", "SQLSTATE 42P01"),
]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Path]:
    """The folder of a server of its own, whose log is beside its data."""
    with running(parts.postgres(tmp_path / "data"), tmp_path / "log"):
        yield tmp_path


async def _until_it_answers(url: str) -> None:
    engine = create_async_engine(url)
    while True:
        try:
            async with engine.begin() as connection:
                await connection.execute(text("CREATE TABLE kept (name text PRIMARY KEY)"))
        except (OSError, DBAPIError):
            await asyncio.sleep(0.05)
        else:
            await engine.dispose()
            return


async def test_a_value_that_the_database_refuses_is_in_no_log(server: Path):
    url = postgres.url_of(server / "data")
    async with asyncio.timeout(60):
        await _until_it_answers(url)
    engine = create_async_engine(url)
    for statement, state in REFUSED:
        with pytest.raises(DBAPIError) as raised:
            async with engine.begin() as connection:
                await connection.execute(text(statement), {"text": TEXT})
        assert TEXT in str(raised.value)
        assert described(raised.value).endswith(state)
        assert TEXT not in trace_of(raised.value)
    await engine.dispose()
    log = (server / "log").read_text()
    assert "ready to accept connections" in log
    assert "ERROR" not in log
    assert TEXT not in log
