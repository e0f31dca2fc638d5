"""What the log has lost is published again; what is only queued is not."""

from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import delete, func, select

from services.common.database import open_database
from services.common.identity import Identity
from services.common.outbox import Outbox
from services.ingest.adapters.tables import MIGRATIONS, OUTBOX, SCHEMA
from services.ingest.catalog import Catalog
from services.ingest.domain import PUSH, Draft, Indexed, Report, Source
from services.ingest.manifest import Manifest
from services.ingest.progress import Progress
from services.ingest.reconciler import WINDOW, Reconciler
from services.ingest.steps import Steps
from tests.integration.ingest.conftest import create_database

ME = Identity("t", "user:me", ("user:me",))
PATIENCE = timedelta(seconds=30)


class Platform:
    """A manifest with a clock of its own, and an outbox that is relayed by hand."""

    def __init__(self, sessions):
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.sessions = sessions
        self.manifest = Manifest(sessions, Steps(Outbox(OUTBOX), lambda: self.now), 1000)
        self.catalog = Catalog(sessions, lambda: self.now)
        self.progress = Progress(PATIENCE, self.now)
        self.reconciler = Reconciler(self.manifest, self.progress, PATIENCE, lambda: self.now)

    async def push(self, *names):
        drafts = [Draft(name, name, "", "", 1, self.now, (), content_digest="d") for name in names]
        rows = await self.manifest.push(ME, ("apps", ""), drafts)
        await self.relay()
        return rows

    async def relay(self):
        """Empty the outbox; return how many records it held."""
        async with self.sessions.begin() as session:
            count = (await session.execute(select(func.count()).select_from(OUTBOX))).scalar_one()
            await session.execute(delete(OUTBOX))
        return count

    async def answer(self, *rows):
        reports = [Report("t", row.document_id, row.version, Indexed(1), self.now) for row in rows]
        for row, _ in await self.manifest.settle(reports):
            self.progress.answered(row.published_at, self.now)

    async def after(self, seconds):
        """Let time pass, look once, and return how many records that put out."""
        self.now += timedelta(seconds=seconds)
        published, relayed = await self.reconciler.look(), await self.relay()
        assert published == relayed
        return relayed


@pytest.fixture
def platform_of(database_url):
    url = create_database(database_url)

    @asynccontextmanager
    async def opened():
        async with open_database(url, MIGRATIONS, SCHEMA) as sessions:
            platform = Platform(sessions)
            await platform.catalog.create(ME, Source("s", "t", "apps", PUSH, (), platform.now), "")
            yield platform

    return opened


async def test_a_change_without_an_answer_is_published_again_each_time_later(platform_of):
    async with platform_of() as platform:
        await platform.push("a")
        assert await platform.after(29) == 0
        assert await platform.after(1.5) == 1
        assert await platform.after(31) == 0
        assert await platform.after(31) == 1
        assert await platform.after(62) == 0
        assert await platform.after(60) == 1


async def test_an_answered_change_is_left_alone(platform_of):
    async with platform_of() as platform:
        await platform.answer(*await platform.push("a"))
        assert await platform.after(1000) == 0


async def test_a_long_queue_that_moves_is_left_alone(platform_of):
    async with platform_of() as platform:
        rows = await platform.push(*map(str, range(12)))
        for row in rows:
            await platform.answer(row)
            assert await platform.after(20) == 0


async def test_a_change_that_later_ones_overtook_is_published_again(platform_of):
    async with platform_of() as platform:
        await platform.push("lost")
        for number in range(4):
            platform.now += timedelta(seconds=10)
            await platform.answer(*await platform.push(str(number)))
        assert await platform.after(1) == 1


async def test_no_more_than_a_window_is_published_again_until_it_is_answered(platform_of):
    async with platform_of() as platform:
        names = [str(number) for number in range(WINDOW + 50)]
        rows = await platform.push(*names)
        assert await platform.after(31) == WINDOW
        assert await platform.after(1) == 0
        await platform.answer(*rows)
        assert await platform.after(100) == 0


async def test_answers_open_the_window_for_the_rest(platform_of):
    async with platform_of() as platform:
        await platform.push(*(str(number) for number in range(WINDOW + 50)))
        await platform.after(31)
        found = await platform.catalog.documents(ME, ("", None), ("", ""), 500)
        again = [row for row, _ in found if row.publications == 2]
        assert len(again) == WINDOW
        await platform.answer(*again)
        assert await platform.after(1) == 50


async def test_a_window_that_was_lost_too_does_not_close_for_ever(platform_of):
    async with platform_of() as platform:
        await platform.push(*(str(number) for number in range(WINDOW + 50)))
        assert await platform.after(31) == WINDOW
        assert await platform.after(61) == WINDOW


async def test_what_the_relay_has_not_sent_yet_is_not_put_out_twice(platform_of):
    async with platform_of() as platform:
        await platform.push("a")
        platform.now += timedelta(seconds=31)
        assert await platform.reconciler.look() == 1
        platform.now += timedelta(seconds=1000)
        assert await platform.reconciler.look() == 0
        await platform.relay()
        assert await platform.reconciler.look() == 1
