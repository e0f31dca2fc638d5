"""A build goes on wherever a killed process left it, and says plainly what the other index cannot hold."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import delete, func, select, update
from tandem.ingest.v1 import events_pb2

from services.common.database import open_database
from services.common.identity import Identity
from services.common.index_config import IndexConfig
from services.common.indexes import IndexState, Made, TenantIndex, open_indexes
from services.common.outbox import Outbox
from services.ingest import builder as building
from services.ingest.adapters.tables import BUILDS, MIGRATIONS, OUTBOX, SCHEMA, TENANT_INDEXES
from services.ingest.builder import Builder, Indexes
from services.ingest.catalog import Catalog
from services.ingest.domain import PUSH, Beside, DocumentState, Draft, Failure, Indexed, Removed, Report, Source
from services.ingest.errors import IndexNotDropped, IndexNotReady
from services.ingest.indexes import Deployment, Wanted
from services.ingest.manifest import Manifest
from services.ingest.steps import Steps
from tests.integration.ingest.conftest import create_database

ME = Identity("t", "user:me", ("user:me",))
LIVE = Made(IndexConfig("minilm", ("en",), 220, 30), "minilm")
FRENCH = Wanted(languages=("fr",))
PATIENCE = timedelta(seconds=30)
FAILED = Failure("INVALID_VECTOR", "no direction")
NAMES = [f"d{number}" for number in range(building.WINDOW + 10)]


class Platform:
    """The manifest and what builds, as a process that was started now; embed is played by the test."""

    def __init__(self, sessions):
        self.sessions = sessions
        self.now = datetime.now(UTC)
        self.manifest = Manifest(sessions, Steps(Outbox(OUTBOX), lambda: self.now), 1000)
        self.catalog = Catalog(sessions, lambda: self.now)
        self.dropped = Counter()
        self.in_use = False
        self.indexes = Indexes(sessions, self.manifest, self.deployed)
        self.builder = Builder(sessions, self.manifest, self.drop, PATIENCE)

    async def deployed(self, tenant_id):
        return Deployment(LIVE, {"minilm": 256})

    async def drop(self, tenant_id, key):
        if self.in_use:
            raise IndexNotDropped("in use")
        self.dropped[tenant_id, key] += 1

    async def push(self, *names):
        drafts = [Draft(name, name, "", "", 1, self.now, (), content_digest="d") for name in names]
        return await self.manifest.push(ME, ("apps", ""), drafts)

    async def later(self, seconds):
        """Let the database believe that what was changed or sent happened that much earlier."""
        past = timedelta(seconds=seconds)
        async with self.sessions.begin() as session:
            await session.execute(update(TENANT_INDEXES).values(changed_at=TENANT_INDEXES.c.changed_at - past))
            await session.execute(update(BUILDS).values(sent_at=BUILDS.c.sent_at - past))

    async def look(self):
        """Have the builder look; return what it published: versions by document's name."""
        await self.builder.look()
        return await self.published()

    async def published(self):
        async with self.sessions.begin() as session:
            rows = (await session.execute(select(OUTBOX.c.value).order_by(OUTBOX.c.id))).scalars().all()
            await session.execute(delete(OUTBOX))
        changes = [events_pb2.DocumentChanged.FromString(value) for value in rows]
        return {change.external_id: change for change in changes}

    async def answer(self, changes, answer=None, beside=None):
        """Say of changes what became of them in the live index, and in the other one."""
        reports = [Report("t", one.document_id, one.version, answer or Indexed(2), self.now, beside) for one in changes]
        await self.manifest.settle(reports)

    async def state(self):
        progress = await self.indexes.progress(ME)
        counts = progress.counts
        return progress.owned.state, counts.documents, counts.done, counts.failed


@pytest.fixture
async def platform(database_url):
    url = await asyncio.to_thread(create_database, database_url)
    async with open_database(url, MIGRATIONS, SCHEMA) as sessions:
        platform = Platform(sessions)
        await platform.catalog.create(ME, Source("s", "t", "apps", PUSH, (), platform.now), "")
        yield platform


async def settled(platform, *names):
    """Have documents that are in the live index."""
    await platform.push(*names)
    await platform.answer((await platform.published()).values())


async def built(platform, *names, fails=()):
    """Have a second index that is ready; return its key."""
    await settled(platform, *names)
    key = (await platform.indexes.build(ME, FRENCH)).owned.other.key
    await platform.later(2)
    sent = await platform.look()
    for name, change in sent.items():
        await platform.answer([change], beside=Beside(key, FAILED if name in fails else Indexed(5, 1)))
    await platform.look()
    return key


async def test_a_build_is_sent_in_windows_and_is_ready_when_all_is_answered(platform):
    await settled(platform, *NAMES)
    key = (await platform.indexes.build(ME, FRENCH)).owned.other.key
    # Before every service has seen it, nothing is sent.
    assert await platform.look() == {}
    await platform.later(2)
    first = await platform.look()
    assert len(first) == building.WINDOW
    assert {change.version for change in first.values()} == {1}
    assert await platform.look() == {}
    await platform.answer(first.values(), beside=Beside(key, Indexed(5)))
    assert await platform.state() == (IndexState.BUILDING, len(NAMES), building.WINDOW, 0)
    rest = await platform.look()
    assert first.keys() | rest.keys() == set(NAMES)
    await platform.answer(rest.values(), beside=Beside(key, Indexed(5)))
    await platform.look()
    assert await platform.state() == (IndexState.READY, len(NAMES), len(NAMES), 0)


async def test_a_killed_builder_goes_on_where_it_was_and_sends_what_was_lost_again(platform):
    await settled(platform, "a", "b")
    key = (await platform.indexes.build(ME, FRENCH)).owned.other.key
    await platform.later(2)
    sent = await platform.look()
    await platform.answer([sent["a"]], beside=Beside(key, Indexed(5)))
    again = Platform(platform.sessions)
    assert await again.look() == {}
    await again.later(31)
    assert (await again.look()).keys() == {"b"}
    assert await again.state() == (IndexState.BUILDING, 2, 1, 0)


async def test_a_build_that_is_begun_twice_is_begun_once(platform):
    await settled(platform, "a")
    begun = await asyncio.gather(*(platform.indexes.build(ME, FRENCH) for _ in range(5)))
    assert len({progress.owned.other.key for progress in begun}) == 1
    await platform.later(2)
    assert (await platform.look()).keys() == {"a"}


async def test_an_answer_that_is_not_of_this_index_or_not_of_the_newest_version_counts_for_nothing(platform):
    await settled(platform, "a")
    key = (await platform.indexes.build(ME, FRENCH)).owned.other.key
    await platform.later(2)
    (sent,) = (await platform.look()).values()
    await platform.answer([sent])
    await platform.answer([sent], beside=Beside("another", Indexed(5)))
    await platform.manifest.settle(
        [Report("u", sent.document_id, 1, Indexed(1), platform.now, Beside(key, Indexed(5)))]
    )
    assert await platform.state() == (IndexState.BUILDING, 1, 0, 0)
    await platform.manifest.push(
        ME, ("apps", ""), [Draft("a", "a", "", "", 1, platform.now, (), content_digest="other")]
    )
    await platform.answer([sent], beside=Beside(key, Indexed(5)))
    assert await platform.state() == (IndexState.BUILDING, 1, 0, 0)
    await platform.answer((await platform.published()).values(), beside=Beside(key, Indexed(5)))
    await platform.look()
    assert await platform.state() == (IndexState.READY, 1, 1, 0)


async def test_what_is_deleted_during_a_build_is_waited_for_no_more(platform):
    await settled(platform, "a", "b")
    key = (await platform.indexes.build(ME, FRENCH)).owned.other.key
    await platform.later(2)
    sent = await platform.look()
    await platform.answer([sent["a"]], beside=Beside(key, Indexed(5)))
    await platform.manifest.delete(ME, "apps", ["b"])
    await platform.look()
    assert await platform.state() == (IndexState.READY, 1, 1, 0)
    await platform.manifest.settle([Report("t", sent["b"].document_id, 2, Removed(), platform.now)])
    assert await platform.state() == (IndexState.READY, 1, 1, 0)


async def test_what_fails_in_the_other_index_hinders_the_switch_until_it_is_accepted(platform):
    await built(platform, "good", "bad", fails={"bad"})
    assert await platform.state() == (IndexState.READY, 2, 2, 1)
    assert (await platform.indexes.progress(ME)).counts.reasons == {"INVALID_VECTOR": 1}
    with pytest.raises(IndexNotReady):
        await platform.indexes.switch(ME, accept_failed=False)
    turned = await platform.indexes.switch(ME, accept_failed=True)
    assert (turned.owned.state, turned.owned.other) == (IndexState.KEPT, LIVE)
    # It is tried in the index that is live now, so that the manifest says what becomes of it.
    (renewed,) = (await platform.published()).values()
    assert (renewed.external_id, renewed.version) == ("bad", 2)
    await platform.answer([renewed], FAILED)
    # The version that replaced it is out of both indexes; going back gives it another try in the first.
    (withdrawn,) = (await platform.published()).values()
    await platform.answer([withdrawn], Removed())
    back = await platform.indexes.revert(ME)
    assert (back.owned.live, back.owned.state) == (LIVE, IndexState.READY)
    assert [(one.external_id, one.version) for one in (await platform.published()).values()] == [("bad", 4)]


async def test_a_failure_in_the_other_index_leaves_the_document_as_it_is(platform):
    await built(platform, "bad", fails={"bad"})
    found = await platform.catalog.documents(ME, ("", None), ("", ""), 10)
    assert [row.state for row, _ in found] == [DocumentState.INDEXED]


async def test_chunks_are_counted_in_the_index_that_is_live(platform):
    async def chunks():
        return (await platform.catalog.find(ME, "apps"))[1].chunks

    await built(platform, "a", "b")
    assert await chunks() == 4
    await platform.indexes.switch(ME, accept_failed=False)
    assert await chunks() == 10
    # A document that comes later is counted in both.
    await platform.push("c")
    await platform.answer((await platform.published()).values(), Indexed(7), Beside(LIVE.key, Indexed(3)))
    assert await chunks() == 17
    await platform.indexes.revert(ME)
    assert await chunks() == 7


async def test_a_switch_is_seen_by_other_services_at_once(platform):
    key = await built(platform, "a")
    async with open_indexes(platform.sessions.kw["bind"].url.render_as_string(hide_password=False)) as indexes:
        assert await indexes.now(Identity("u", "user:u", ())) == TenantIndex()
        before = await indexes.now(ME)
        assert (before.live, before.second.key, before.droppable) == (LIVE, key, False)
        await platform.indexes.switch(ME, accept_failed=False)
        after = await indexes.now(ME)
        assert (after.live.key, after.second, after.state) == (key, LIVE, IndexState.KEPT)
        await platform.indexes.drop(ME)
        left = await indexes.now(ME)
        # Searches that began before the switch may still read it.
        assert (left.second, left.droppable) == (LIVE, False)
        await platform.later(7)
        assert ((await indexes.now(ME)).second, (await indexes.now(ME)).droppable) == (None, False)
        await platform.later(2)
        assert (await indexes.now(ME)).droppable


async def test_an_index_is_dropped_when_nobody_uses_it_and_asked_for_until_it_is(platform):
    key = await built(platform, "a")
    await platform.indexes.drop(ME)
    await platform.look()
    assert platform.dropped == {}
    await platform.later(9)
    platform.in_use = True
    await platform.look()
    assert (await platform.state())[0] is IndexState.DROPPING
    platform.in_use = False
    await platform.look()
    assert platform.dropped == {("t", key): 1}
    progress = await platform.indexes.progress(ME)
    assert (progress.owned.state, progress.owned.live, progress.owned.other) == (IndexState.SETTLED, LIVE, None)
    async with platform.sessions.begin() as session:
        assert (await session.execute(select(func.count()).select_from(BUILDS))).scalar_one() == 0


async def test_settling_and_building_at_once_wait_for_nobody_for_ever(platform):
    await settled(platform, *NAMES)
    key = (await platform.indexes.build(ME, FRENCH)).owned.other.key
    await platform.later(2)
    changes = list((await platform.look()).values())

    async def settle(some):
        await platform.answer(some, beside=Beside(key, Indexed(5)))

    async with asyncio.timeout(20):
        await asyncio.gather(
            *(settle(changes[start::5]) for start in range(5)), *(platform.builder.look() for _ in range(5))
        )
    assert (await platform.state())[2] == len(changes)
