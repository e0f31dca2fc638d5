"""After an upgrade that makes the index anew, every document is given to it again."""

import shutil
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from sqlalchemy import select

from services.common.database import open_database
from services.ingest.adapters.tables import DOCUMENTS, MIGRATIONS, SCHEMA
from services.ingest.domain import DocumentState, Indexed, Report
from tests.integration.ingest.conftest import create_database
from tests.integration.ingest.test_reconciler import PATIENCE, Platform
from tests.manifest import Manifest

STATES = {"indexed": "indexed", "waits": "pending", "broken": "failed", "leaving": "deleting"}


@pytest.fixture
def url(database_url):
    return create_database(database_url)


@pytest.fixture
async def upgraded(url, tmp_path):
    """The manifest of an older release, with a document in each state, opened by this one."""
    older = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, older, ignore=shutil.ignore_patterns("0005*", "0006*", "__pycache__"))
    async with open_database(url, older, SCHEMA):
        connection = await asyncpg.connect(url.replace("+asyncpg", ""))
        for document_id, state in STATES.items():
            await Manifest(url, connection).put("t", document_id, "everyone", state=state)
        await connection.close()
    async with open_database(url, MIGRATIONS, SCHEMA) as sessions:
        platform = Platform(sessions)
        platform.now = datetime.now(UTC)
        yield platform


async def rows_of(platform):
    async with platform.sessions() as session:
        return {row.document_id: row for row in await session.execute(select(DOCUMENTS))}


async def test_what_is_indexed_or_on_its_way_is_published_as_a_new_version(upgraded):
    assert await upgraded.after(PATIENCE.total_seconds()) == 2
    rows = await rows_of(upgraded)
    versions = {document_id: (row.version, row.state) for document_id, row in rows.items()}
    assert versions == {
        "indexed": (2, "pending"),
        "waits": (2, "pending"),
        "broken": (1, "failed"),
        "leaving": (1, "deleting"),
    }


async def test_an_answer_about_the_version_of_before_does_not_count(upgraded):
    before = Report("t", "indexed", 1, Indexed(1), upgraded.now - timedelta(minutes=1))
    await upgraded.manifest.settle([before])
    assert (await rows_of(upgraded))["indexed"].state == DocumentState.PENDING
    await upgraded.manifest.settle([Report("t", "indexed", 2, Indexed(3), upgraded.now)])
    assert (await rows_of(upgraded))["indexed"].state == DocumentState.INDEXED
