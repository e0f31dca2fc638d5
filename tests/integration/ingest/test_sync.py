"""A sync records what a connector shows, whatever happens to it meanwhile."""

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from services.common.blobs import Blobs
from services.common.database import open_database
from services.common.identity import Identity
from services.common.outbox import Outbox
from services.ingest.adapters.files import FilesConnector
from services.ingest.adapters.tables import MIGRATIONS, OUTBOX, SCHEMA
from services.ingest.catalog import Catalog
from services.ingest.changes import Tally
from services.ingest.contents import Contents
from services.ingest.domain import FILES, DocumentState, FilesConfig, Source
from services.ingest.errors import ContentsUnavailable, SourceNotSyncable
from services.ingest.manifest import Manifest
from services.ingest.ports import Entry, Listing, Unreadable, Vanished
from services.ingest.steps import Steps
from services.ingest.sync import Syncer
from tests.integration.ingest.conftest import create_database

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LIMIT = 1000
ME = Identity("t", "user:me", ("user:me",))


class MemoryConnector:
    """Shows contents, and faults, by name."""

    def __init__(self, **contents):
        self.contents = contents
        self.root = "r"
        self.reading = asyncio.Event()
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def scan(self, only=None):
        names = [name for name in self.contents if only is None or name in only]
        return Listing(self.root, {name: Entry(name, name, name, "", "", 1, NOW, "") for name in names})

    async def read(self, entry, limit_bytes):
        self.reading.set()
        await self.go_on.wait()
        content = self.contents[entry.external_id]
        if isinstance(content, Exception):
            raise content
        return content, entry

    async def watch(self):
        yield None


class Place:
    """One source on a real database; `syncer` makes as many replicas as are wanted."""

    def __init__(self, sessions, blobs):
        self.sessions = sessions
        self.steps = Steps(Outbox(OUTBOX), lambda: NOW)
        self.manifest = Manifest(sessions, self.steps, LIMIT)
        self.catalog = Catalog(sessions, lambda: NOW)
        self.contents = Contents(Blobs(str(blobs)), sessions, lambda: NOW)

    def syncer(self, connector):
        return Syncer(self.catalog, self.manifest, self.contents, lambda _: connector, LIMIT)

    async def rows(self):
        found = await self.catalog.documents(ME, ("", None), ("", ""), 500)
        return {row.draft.external_id: row for row, _ in found}


@pytest.fixture
def place_of(database_url, tmp_path):
    url = create_database(database_url)

    @asynccontextmanager
    async def opened(path="/"):
        async with open_database(url, MIGRATIONS, SCHEMA) as sessions:
            place = Place(sessions, tmp_path / "blobs")
            await place.catalog.create(ME, Source("s", "t", "docs", FILES, (), NOW, FilesConfig(path)), "")
            yield place

    return opened


async def test_a_document_that_vanishes_while_it_is_read_was_never_there(place_of):
    async with place_of() as place:
        connector = MemoryConnector(a=b"a", b=Vanished("b"))
        assert await place.syncer(connector).sync("s") == Tally(added=1)
        connector.contents["a"] = Vanished("a")
        assert await place.syncer(connector).sync("s") == Tally(deleted=1)
        assert (await place.rows())["a"].state is DocumentState.DELETING


async def test_a_document_that_cannot_be_read_fails_until_it_can(place_of):
    async with place_of() as place:
        connector = MemoryConnector(a=Unreadable("permission denied"))
        assert await place.syncer(connector).sync("s") == Tally(failed=1)
        row = (await place.rows())["a"]
        assert (row.draft.failure.reason, row.awaiting) == ("UNREADABLE", False)
        connector.contents["a"] = b"a"
        assert await place.syncer(connector).sync("s") == Tally(changed=1)


async def test_replicas_that_sync_at_once_record_each_document_once(place_of, folder):
    for number in range(150):
        (folder / f"{number}.md").write_text(f"document {number}")
    async with place_of(str(folder)) as place:
        connector = FilesConnector(FilesConfig(str(folder)), (Path("/"),))
        syncers = [place.syncer(connector) for _ in range(3)]
        tallies = await asyncio.gather(*(syncer.sync("s") for syncer in syncers))
        assert sum(tally.added for tally in tallies) == 150
        assert {row.version for row in (await place.rows()).values()} == {1}


async def test_what_was_paused_meanwhile_is_not_recorded(place_of):
    async with place_of() as place:
        connector = MemoryConnector(a=b"a")
        connector.go_on.clear()
        syncing = asyncio.create_task(place.syncer(connector).sync("s"))
        await connector.reading.wait()
        await place.catalog.pause(ME, "docs")
        connector.go_on.set()
        with pytest.raises(SourceNotSyncable):
            await syncing
        assert await place.rows() == {}


async def test_two_documents_that_swap_their_names_swap_their_contents(place_of):
    async with place_of() as place:
        connector = MemoryConnector(a=b"1", b=b"2")
        await place.syncer(connector).sync("s")
        before = await place.rows()
        connector.contents = {"a": b"2", "b": b"1"}
        assert await place.syncer(connector).sync("s") == Tally(changed=2)
        after = await place.rows()
        assert after["a"].document_id == before["a"].document_id
        assert after["a"].draft.content_digest == before["b"].draft.content_digest


async def test_a_moved_document_may_leave_its_name_to_another_later(place_of):
    async with place_of() as place:
        connector = MemoryConnector(a=b"1")
        await place.syncer(connector).sync("s")
        connector.contents = {"b": b"1"}
        assert await place.syncer(connector).sync("s") == Tally(moved=1)
        connector.contents = {"b": b"1", "a": b"1"}
        assert await place.syncer(connector).sync("s") == Tally(added=1, unchanged=1)
        rows = await place.rows()
        assert rows["a"].document_id != rows["b"].document_id


async def test_a_blob_store_that_fails_is_reported_and_nothing_is_recorded(place_of, tmp_path):
    async with place_of() as place:
        (tmp_path / "blobs").write_text("a file, where a folder has to be")
        with pytest.raises(ContentsUnavailable):
            await place.syncer(MemoryConnector(a=b"a")).sync("s")
        source, counts = await place.catalog.find(ME, "docs")
        assert source.last_sync_error == "the content cannot be stored"
        assert counts.pending == 0
