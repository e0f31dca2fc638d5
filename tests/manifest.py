"""Ingest's manifest as other services read it: its own migrations, and rows that a test writes."""

import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg

from services.common.database import open_database

MIGRATIONS = Path(__file__).parents[1] / "services/ingest/migrations"
SCHEMA = "ingest"

_SOURCE = {"kind": "push", "state": "active", "config": "{}", "sync_wanted": False, "last_sync_error": "", "root": ""}
_DOCUMENT = {
    "title": "",
    "uri": "",
    "media_type": "text/plain",
    "blob_key": "",
    "content_digest": "",
    "size_bytes": 0,
    "fingerprint": "",
    "metadata": "{}",
    "version": 1,
    "failure_reason": "",
    "failure_message": "",
    "chunk_count": 1,
    "awaiting": False,
    "publications": 0,
}


class Manifest:
    """Writes to the manifest what a test says of documents and of sets of readers; an id belongs to who had it last."""

    def __init__(self, url: str, connection: asyncpg.Connection) -> None:
        self.url = url
        self._connection = connection

    async def put(self, tenant_id: str, document_id: str, *readers: str, state: str = "indexed") -> None:
        """Have a document, or change who may read it."""
        now = datetime.now(UTC)
        source = {"source_id": f"src-{tenant_id}", "tenant_id": tenant_id, "name": "manifest"}
        await self._insert("sources", source | _SOURCE | {"readers": [], "created_at": now}, "source_id", "state")
        own = {"document_id": document_id, "tenant_id": tenant_id, "source_id": source["source_id"]}
        own |= {"external_id": document_id, "external_key": document_id, "readers": list(readers), "state": state}
        times = {"changed_at": now, "recorded_at": now}
        await self._insert(
            "documents", own | _DOCUMENT | times, "document_id", "tenant_id", "source_id", "readers", "state"
        )

    async def delete(self, document_id: str) -> None:
        """Have a document no more."""
        await self._connection.execute(
            f"UPDATE {SCHEMA}.documents SET state = 'deleted' WHERE document_id = $1", document_id
        )

    async def put_set(self, tenant_id: str, set_id: str, *members: str) -> None:
        """Have a set of readers."""
        rows = [(tenant_id, set_id, member) for member in members]
        await self._connection.executemany(f"INSERT INTO {SCHEMA}.reader_sets VALUES ($1, $2, $3)", rows)

    async def _insert(self, table: str, row: dict[str, Any], key: str, *changed: str) -> None:
        holes = ", ".join(f"${number}" for number in range(1, len(row) + 1))
        news = ", ".join(f"{name} = excluded.{name}" for name in changed)
        await self._connection.execute(
            f"INSERT INTO {SCHEMA}.{table} ({', '.join(row)}) VALUES ({holes}) "
            f"ON CONFLICT ({key}) DO UPDATE SET {news}",
            *row.values(),
        )


async def migrate(url: str) -> None:
    """Make the manifest's tables and views in the database at `url`."""
    async with open_database(url, MIGRATIONS, SCHEMA):
        pass


@contextlib.asynccontextmanager
async def open_manifest(url: str) -> AsyncIterator[Manifest]:
    """Give the manifest in the database at `url`, which is SQLAlchemy's, migrated."""
    await migrate(url)
    connection = await asyncpg.connect(url.replace("+asyncpg", "", 1))
    try:
        yield Manifest(url, connection)
    finally:
        await connection.close()
