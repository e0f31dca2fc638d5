"""What is committed with its outbox row is published, in order, and nothing else, on real parts."""

import asyncio
import contextlib
import uuid

import pytest
from sqlalchemy import text
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

from services.cli import parts
from services.common.bus import DOCUMENTS_CHANGED, BusUnavailable, Record, key_of, open_producer
from services.common.database import schema_metadata
from services.common.outbox import BATCH, TRICKLE, Outbox, outbox_table
from tests.conftest import free_address, running, wait_for_port

TIMEOUT_SECONDS = 30


class Taken:
    """Takes records as the broker does, or is away."""

    def __init__(self):
        self.values = []
        self.away = False

    async def send(self, records):
        if self.away:
            raise BusUnavailable("the event log did not take the records")
        self.values += [record.value for record in records]


@pytest.fixture
async def box(database_url):
    metadata = schema_metadata(f"outbox_{uuid.uuid4().hex}")
    table = outbox_table(metadata)
    engine = create_async_engine(database_url)
    async with engine.begin() as connection:
        await connection.execute(text(f'CREATE SCHEMA "{metadata.schema}"'))
        await connection.run_sync(metadata.create_all)
    yield Box(async_sessionmaker(engine, expire_on_commit=False), Outbox(table), table)
    await engine.dispose()


class Box:
    """An outbox with its database."""

    def __init__(self, sessions, outbox, table):
        self.sessions, self.outbox, self._table = sessions, outbox, table

    async def commit(self, *values):
        async with self.sessions.begin() as session:
            await self.outbox.add(session, [Record(DOCUMENTS_CHANGED, b"k", value) for value in values])
        self.outbox.wake()

    async def commit_for(self, tenant, *values):
        async with self.sessions.begin() as session:
            await self.outbox.add(session, [Record(DOCUMENTS_CHANGED, key_of(tenant, "d"), value) for value in values])
        self.outbox.wake()

    async def left(self, tenant="%"):
        query = text(f'SELECT count(*) FROM "{self._table.schema}".outbox WHERE lane LIKE :lane')
        async with self.sessions() as session:
            return (await session.execute(query, {"lane": tenant})).scalar()

    async def fill(self, rows, lanes):
        async with self.sessions.begin() as session:
            await session.execute(
                text(
                    f'INSERT INTO "{self._table.schema}".outbox (topic, key, value, headers, lane) '
                    f"SELECT 't', '', '', '{{}}', 'lane' || (n % {lanes}) FROM generate_series(1, {rows}) n"
                )
            )
            await session.execute(text(f'ANALYZE "{self._table.schema}".outbox'))

    async def scanned(self, query):
        """Return how many rows of the table its plan touched."""
        compiled = query.compile(dialect=postgresql.dialect(), compile_kwargs={"literal_binds": True})
        async with self.sessions() as session:
            explained = await session.execute(
                text(f"EXPLAIN (ANALYZE, FORMAT JSON) {str(compiled).replace(':', chr(92) + ':')}")
            )
            return sum(
                rows for kind, rows in _nodes(explained.scalar()[0]["Plan"]) if "Scan" in kind and kind != "CTE Scan"
            )

    @contextlib.asynccontextmanager
    async def relaying(self, producer, pace=None):
        task = asyncio.create_task(self.outbox.relay(self.sessions, producer, pace))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})
            assert task.cancelled(), task.exception()

    async def until_empty(self):
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while await self.left():  # noqa: ASYNC110 - another process empties it
                await asyncio.sleep(0.05)


class Behind:
    """A reader that is far behind until it is told otherwise."""

    def __init__(self):
        self.behind = True

    async def is_behind(self):
        return self.behind


def _nodes(plan):
    yield plan["Node Type"], plan["Actual Rows"] * plan["Actual Loops"]
    for inner in plan.get("Plans", ()):
        yield from _nodes(inner)


async def test_what_is_committed_is_published_in_order_and_forgotten(box):
    taken = Taken()
    values = [b"%d" % number for number in range(2 * BATCH + 7)]
    await box.commit(*values)
    async with box.relaying(taken):
        await box.until_empty()
    assert taken.values == values


async def test_what_is_rolled_back_is_never_published(box):
    taken = Taken()
    async with box.sessions() as session:
        await box.outbox.add(session, [Record(DOCUMENTS_CHANGED, b"k", b"undone")])
        await session.rollback()
    await box.commit(b"kept")
    async with box.relaying(taken):
        await box.until_empty()
    assert taken.values == [b"kept"]


async def test_nothing_to_add_is_no_error(box):
    async with box.sessions.begin() as session:
        await box.outbox.add(session, [])
    assert await box.left() == 0


async def test_what_comes_while_the_relay_sleeps_is_published_too(box):
    taken = Taken()
    async with box.relaying(taken):
        await box.until_empty()
        await box.commit(b"first")
        await box.until_empty()
        await box.commit(b"second")
        await box.until_empty()
    assert taken.values == [b"first", b"second"]


async def test_nothing_is_lost_while_the_broker_is_away(box):
    taken = Taken()
    taken.away = True
    async with box.relaying(taken):
        await box.commit(b"one", b"two")
        await asyncio.sleep(0.2)
        assert await box.left() == 2
        taken.away = False
        await box.until_empty()
    assert taken.values == [b"one", b"two"]


async def test_two_relays_publish_each_record_once_and_in_order(box):
    taken = Taken()
    async with box.relaying(taken), box.relaying(taken):
        for number in range(50):
            await box.commit(b"%d" % number)
        await box.until_empty()
    assert taken.values == [b"%d" % number for number in range(50)]


async def test_a_relay_that_is_killed_loses_nothing(box):
    taken = Taken()
    await box.commit(*[b"%d" % number for number in range(20)])
    async with box.relaying(taken):
        await asyncio.sleep(0)
    async with box.relaying(taken):
        await box.until_empty()
    assert set(taken.values) == {b"%d" % number for number in range(20)}


async def test_the_real_broker_s_restart_is_outlived(box, tmp_path):
    address = free_address()
    command = parts.broker(address)
    with running(command, tmp_path / "log") as process:
        wait_for_port(address, process)
        async with open_producer(address) as producer, box.relaying(producer):
            await box.commit(b"before")
            await box.until_empty()
            process.kill()
            process.wait()
            await box.commit(b"while it is away")
            await asyncio.sleep(0.5)
            assert await box.left() == 1
            with running(command, tmp_path / "log") as again:
                wait_for_port(address, again)
                await box.until_empty()
    assert await box.left() == 0


async def test_a_tenants_change_is_published_before_what_another_has_waiting(box):
    taken = Taken()
    await box.commit_for("busy", *[b"%d" % number for number in range(3 * BATCH)])
    await box.commit_for("quiet", b"quiet one", b"quiet two")
    async with box.relaying(taken):
        await box.until_empty()
    assert taken.values.index(b"quiet one") < taken.values.index(b"quiet two") < 10
    assert [value for value in taken.values if value.isdigit()] == [b"%d" % number for number in range(3 * BATCH)]


async def test_more_tenants_than_a_batch_holds_all_come_to_their_turn(box):
    taken = Taken()
    await box.fill(3 * BATCH + 9, BATCH + 100)
    async with box.relaying(taken):
        await box.until_empty()
    assert len(taken.values) == 3 * BATCH + 9


async def test_while_the_reader_is_behind_a_backlog_waits_and_a_quiet_tenant_does_not(box):
    taken, pace = Taken(), Behind()
    await box.commit_for("busy", *[b"%d" % number for number in range(10 * BATCH)])
    async with box.relaying(taken, pace):
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while len(taken.values) < 2 * TRICKLE:  # noqa: ASYNC110 - the relay tells nobody
                await asyncio.sleep(0.02)
        await box.commit_for("quiet", b"quiet")
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while await box.left("quiet"):  # noqa: ASYNC110 - the relay tells nobody
                await asyncio.sleep(0.02)
        assert await box.left("busy") > BATCH
        pace.behind = False
        await box.until_empty()
    assert [value for value in taken.values if value.isdigit()] == [b"%d" % number for number in range(10 * BATCH)]


async def test_finding_whose_turn_it_is_reads_few_rows_of_a_large_outbox(box):
    await box.fill(100_000, 7)
    assert await box.scanned(box.outbox._lanes_after(None)) <= 20
    lanes = [f"lane{number}" for number in range(7)]
    assert await box.scanned(box.outbox._rows_of(lanes, BATCH // 7)) <= BATCH + 20
