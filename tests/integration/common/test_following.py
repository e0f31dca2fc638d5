"""Followers read the whole of a topic, each for itself, and again where the broker lost it."""

import asyncio
import contextlib
import uuid

import pytest

from services.cli import parts
from services.common.bus import ADAPTERS, BusUnavailable, Producer, Record
from services.common.following import Following, follow
from tests.conftest import free_address, running, wait_for_port

TIMEOUT_SECONDS = 45


class Follower:
    """Follows the topic, and keeps what carries the test's mark."""

    def __init__(self, bootstrap, mark):
        self.values, self.caught_up, self._mark = [], 0, mark
        self._following = Following(bootstrap, ADAPTERS, self._handle, self._note)

    def _handle(self, records):
        self.values += [record.value for record in records if record.key.startswith(self._mark)]

    def _note(self):
        self.caught_up += 1

    async def until(self, condition):
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while not condition(self):  # noqa: ASYNC110 - what comes is not an event
                await asyncio.sleep(0.02)

    @contextlib.asynccontextmanager
    async def running(self):
        task = asyncio.create_task(follow(self._following))
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.wait({task}, timeout=TIMEOUT_SECONDS)
            assert task.cancelled()


@pytest.fixture
def mark():
    return uuid.uuid4().hex.encode()


@contextlib.asynccontextmanager
async def producer_on(bootstrap):
    producer = Producer(bootstrap)
    try:
        yield producer
    finally:
        await producer.stop()


async def until_sent(producer, record):
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while True:
            with contextlib.suppress(BusUnavailable):
                await producer.send([record])
                return
            await asyncio.sleep(0.2)


def numbered(mark, *numbers):
    return [Record(ADAPTERS, mark, b"%d" % number) for number in numbers]


async def test_each_follower_reads_all_that_was_there_and_then_what_comes(bus, mark):
    async with producer_on(bus) as producer:
        await producer.send(numbered(mark, *range(700)))
        async with Follower(bus, mark).running() as first, Follower(bus, mark).running() as second:
            for each in (first, second):
                await each.until(lambda follower: follower.caught_up)
                assert [int(value) for value in each.values] == list(range(700))
            await producer.send(numbered(mark, 700))
            for each in (first, second):
                await each.until(lambda follower: len(follower.values) == 701)
                assert each.caught_up == 1


async def test_an_empty_topic_has_been_read_at_once(tmp_path, mark):
    address = free_address()
    with running(parts.broker(address), tmp_path / "log") as process:
        wait_for_port(address, process)
        async with Follower(address, mark).running() as follower:
            await follower.until(lambda each: each.caught_up)
            assert not follower.values


async def test_a_broker_that_is_not_there_yet_is_waited_for(tmp_path, mark):
    address = free_address()
    async with Follower(address, mark).running() as follower, producer_on(address) as producer:
        await asyncio.sleep(0.5)
        with running(parts.broker(address), tmp_path / "log") as process:
            wait_for_port(address, process)
            await until_sent(producer, *numbered(mark, 1))
            await follower.until(lambda each: each.values == [b"1"])
