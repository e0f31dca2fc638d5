"""What is taken from somebody is taken with the commit, and no content that is needed is ever removed."""

import asyncio
import random
from dataclasses import replace

import pytest

from services.common.blobs import BlobMissing, Blobs
from services.common.database import open_database
from services.common.identity import Identity
from services.common.outbox import Outbox
from services.common.permissions import open_permissions
from services.common.quotas import QuotaExceeded, Quotas, TenantQuotas
from services.ingest.acl import Acl
from services.ingest.adapters.tables import MIGRATIONS, OUTBOX, SCHEMA
from services.ingest.catalog import Catalog
from services.ingest.contents import Contents
from services.ingest.domain import PUSH, DocumentState, Draft, Indexed, Removed, Report, Source
from services.ingest.erasure import Erasure, Tools
from services.ingest.errors import ContentsUnavailable
from services.ingest.manifest import Manifest
from services.ingest.steps import Steps
from services.ingest.sweeper import Sweeper
from tests.integration.ingest.conftest import create_database
from tests.integration.ingest.test_sync import NOW

ADA = Identity("t", "user:ada", ("user:ada",))
BOB = Identity("t", "user:bob", ("user:bob",))


class Place:
    """A manifest of one push source, Ada's, and what other services read of it."""

    def __init__(self, sessions, permissions, folder, quotas=None):
        self.sessions, self.permissions = sessions, permissions
        self.store = Blobs(str(folder))
        self.sweeper = Sweeper(sessions, self.store, lambda: NOW)
        steps = Steps(Outbox(OUTBOX), lambda: NOW, self.sweeper.wake)
        self.manifest = Manifest(sessions, steps, 1000, quotas)
        self.catalog, self.acl = Catalog(sessions, lambda: NOW), Acl(sessions, steps)
        self.contents = Contents(self.store, sessions, lambda: NOW)
        self.erasure = Erasure(sessions, steps, Tools(self.manifest, self.acl, self.sweeper, self.store))

    async def push(self, name, *readers, content=b"text", who=ADA):
        (stored,) = await self.contents.put(who, [content])
        draft = Draft(name, name, "", "", len(content), NOW, readers, owner=who.subject, follows_source=not readers)
        put = replace(
            draft, blob_key=stored.blob_key, content_digest=stored.content_digest, blob_generation=stored.generation
        )
        (row,) = await self.manifest.push(who, ("apps", ""), [put])
        return row

    async def rows(self):
        return [row for row, _ in await self.catalog.documents(ADA, ("", None), ("", ""), 500)]

    async def answer(self):
        """Answer as the index would, whatever it owes."""
        answers = [
            Report("t", row.document_id, row.version, Removed() if row.withdrawn else Indexed(1), NOW)
            for row in await self.rows()
            if row.awaiting
        ]
        await self.manifest.settle(answers)

    async def reads(self, identity, row):
        return await self.permissions.readable(identity, [row.document_id])


@pytest.fixture
async def place(database_url, tmp_path):
    url = await asyncio.to_thread(create_database, database_url)
    async with open_database(url, MIGRATIONS, SCHEMA) as sessions, open_permissions(url) as permissions:
        place = Place(sessions, permissions, tmp_path / "blobs")
        await place.catalog.create(ADA, Source("s", "t", "apps", PUSH, ("user:ada",), NOW, owner="user:ada"), "")
        yield place


async def test_a_document_without_readers_is_its_sources_and_changes_with_it(place):
    follows, own = await place.push("follows"), await place.push("own", "user:ada")
    assert await place.reads(ADA, follows) == {follows.document_id: False}
    assert await place.reads(BOB, follows) == {}
    assert (await place.acl.set_source(ADA, "apps", ("user:bob", "everyone")))[1] == 1
    assert await place.reads(BOB, follows) != {}
    assert await place.reads(ADA, follows) == {}
    assert await place.reads(BOB, own) == {}
    source, _ = await place.acl.set_source(ADA, "apps", ())
    assert source.readers == ("user:ada",)
    assert await place.reads(BOB, follows) == {}


async def test_readers_of_its_own_are_set_and_given_up(place):
    row = await place.push("a")
    assert await place.acl.set_documents(ADA, "apps", {"a": ("user:bob",), "b": ()}) == (1, ["b"])
    assert await place.reads(BOB, row) != {}
    assert await place.acl.set_documents(ADA, "apps", {"a": ()}) == (1, [])
    assert await place.reads(BOB, row) == {}
    (after,) = await place.rows()
    assert (after.version, after.draft.follows_source, after.narrowed_at) == (3, True, NOW)
    await place.answer()
    assert (await place.rows())[0].narrowed_at is None


async def test_a_document_pushed_again_is_read_by_its_new_readers_before_the_index_knows(place):
    row = await place.push("a", "user:bob")
    await place.answer()
    await place.push("a", "user:ada", content=b"new")
    assert (await place.rows())[0].state is DocumentState.PENDING
    assert await place.reads(BOB, row) == {}
    assert await place.reads(ADA, row) != {}


async def test_a_deleted_document_is_nobodys_from_the_commit_on(place):
    row = await place.push("a")
    await place.answer()
    await place.manifest.delete(ADA, "apps", ["a"])
    assert await place.reads(ADA, row) == {}
    assert await place.permissions.existing(ADA, [row.document_id]) == set()


async def test_readers_too_many_for_the_index_are_a_set_that_goes_when_nobody_needs_it(place):
    many = tuple(f"user:{number}" for number in range(100_000))
    row = await place.push("a", *many)
    last = Identity("t", "user:99999", ("user:99999",))
    (set_id,) = await place.permissions.sets_of(last)
    assert set_id.startswith("set:")
    assert await place.reads(last, row) == {row.document_id: False}
    assert await place.reads(BOB, row) == {}
    assert await place.permissions.sets_of(Identity("other", "user:99999", ("user:99999",))) == ()
    assert await place.sweeper.sweep_sets("t") == 0
    await place.acl.set_documents(ADA, "apps", {"a": ("user:bob",)})
    assert await place.sweeper.sweep_sets("t") == 100_000
    assert await place.permissions.sets_of(last) == ()


async def test_a_content_goes_when_the_index_has_answered_and_no_other_document_has_it(place):
    first = await place.push("a", content=b"one")
    await place.push("b", content=b"one")
    await place.answer()
    await place.push("a", content=b"two")
    await place.manifest.delete(ADA, "apps", ["b"])
    assert await place.sweeper.sweep() == 0
    await place.answer()
    assert await place.sweeper.sweep() == 1
    with pytest.raises(BlobMissing):
        await place.store.get(first.draft.blob_key)
    assert await place.store.get((await place.rows())[0].draft.blob_key) == b"two"


async def test_no_race_of_pushes_with_deletions_loses_a_content(place):
    chance = random.Random(3)

    async def pusher(name):
        for _ in range(25):
            try:
                await place.push(name, content=chance.choice((b"one", b"two")))
            except ContentsUnavailable:
                continue
            await place.manifest.delete(ADA, "apps", [name] if chance.random() < 0.7 else [])
            await place.answer()

    async def sweep():
        while True:
            await place.sweeper.sweep()
            await asyncio.sleep(0)

    sweeping = asyncio.create_task(sweep())
    await asyncio.gather(*map(pusher, "abcd"))
    await place.answer()
    sweeping.cancel()
    await asyncio.gather(sweeping, return_exceptions=True)
    await place.sweeper.sweep()
    kept = {row.draft.blob_key for row in await place.rows() if row.state is not DocumentState.DELETING}
    assert all([await place.store.get(key) for key in kept])


async def test_a_quota_of_documents_is_exact_when_many_push_at_once(place):
    place.manifest = Manifest(
        place.sessions, Steps(Outbox(OUTBOX), lambda: NOW), 1000, TenantQuotas({"t": Quotas(documents=5)})
    )
    outcomes = await asyncio.gather(*(place.push(str(n)) for n in range(12)), return_exceptions=True)
    assert sum(isinstance(outcome, QuotaExceeded) for outcome in outcomes) == 7
    assert len(await place.rows()) == 5


async def test_an_erased_person_is_nobodys_reader_and_owns_nothing(place):
    await place.acl.set_source(ADA, "apps", ("user:ada", "user:bob"))
    shared, alone = await place.push("shared", who=BOB), await place.push("alone", "user:ada", who=BOB)
    first = await place.erasure.person(ADA, ["user:ada"])
    assert (first.done, first.removed["documents"], first.removed["sources"]) == (False, 1, 0)
    assert await place.reads(ADA, shared) == {}
    assert await place.reads(ADA, alone) == {}
    assert await place.reads(BOB, shared) != {}
    await place.answer()
    second = await place.erasure.person(ADA, ["user:ada"])
    assert (second.done, second.removed["documents"], second.removed["readers"]) == (True, 0, 0)
    assert (await place.catalog.find(ADA, "apps"))[0].owner == ""


async def test_an_erased_tenant_leaves_nothing_and_others_keep_theirs(place):
    await place.push("a")
    eve = Identity("u", "user:eve", ("user:eve",))
    await place.contents.put(eve, [b"text"])
    assert not (await place.erasure.tenant(ADA)).done
    await place.answer()
    assert (await place.erasure.tenant(ADA)).done
    assert await place.rows() == []
    assert await place.store.keys("t") == []
    assert len(await place.store.keys("u")) == 1


async def test_what_somebody_may_read_is_listed_by_id_page_by_page(place):
    shared = [(await place.push(f"shared-{number}", "user:bob")).document_id for number in range(3)]
    await place.push("own", "user:ada")
    first = await place.permissions.page(BOB, "", 2)
    assert first == sorted(shared)[:2]
    assert await place.permissions.page(BOB, first[-1], 2) == sorted(shared)[2:]
    assert await place.permissions.page(replace(BOB, principals=()), "", 2) == []
    assert await place.permissions.page(replace(BOB, tenant_id="rival"), "", 2) == []
