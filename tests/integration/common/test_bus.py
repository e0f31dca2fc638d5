"""Records reach their consumers whole, in order and at least once, on the real broker."""

import asyncio
import contextlib
import uuid

import pytest
from kafka import KafkaConsumer, TopicPartition
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from services.cli import parts
from services.common.bus import (
    DOCUMENTS_CHANGED,
    INTERACTIONS,
    PARTITIONS,
    BusUnavailable,
    Producer,
    Record,
    key_of,
    open_producer,
    traced,
)
from services.common.consuming import Subscription, consume
from tests.conftest import free_address, running, wait_for_port

TIMEOUT_SECONDS = 45


class Reader:
    """Consumes a topic as a group of its own, and keeps what carries the test's mark."""

    def __init__(self, bootstrap, mark, group="", topic=INTERACTIONS):
        self.group = group or uuid.uuid4().hex
        self.records = []
        self.failures = 0
        self._mark = mark
        self._changed = asyncio.Event()
        self._subscription = Subscription(bootstrap, (topic,), self.group)

    async def handle(self, records):
        if self.failures:
            self.failures -= 1
            raise RuntimeError("the handler failed")
        self.records += [record for record in records if record.key.startswith(self._mark)]
        self._changed.set()

    async def until(self, count):
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while len(self.records) < count:
                self._changed.clear()
                await self._changed.wait()
        return self.records

    @contextlib.asynccontextmanager
    async def running(self):
        task = asyncio.create_task(consume(self._subscription, self.handle))
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.wait({task}, timeout=TIMEOUT_SECONDS)
            assert task.cancelled()


@pytest.fixture
def mark():
    return uuid.uuid4().hex.encode()


def records_of(mark, count, keys=1):
    return [Record(INTERACTIONS, mark + b"/%d" % (number % keys), b"%d" % number) for number in range(count)]


def test_a_key_keeps_tenant_and_object():
    assert key_of("acme", "doc-ü") == "acme/doc-ü".encode()


async def test_a_record_arrives_whole_with_its_trace(bus, mark):
    span = NonRecordingSpan(SpanContext(0xABC, 0xDEF, is_remote=False, trace_flags=TraceFlags(1)))
    async with open_producer(bus) as producer, Reader(bus, mark).running() as reader:
        with trace.use_span(span):
            await producer.send([traced(INTERACTIONS, mark, b"\x00\xff value")])
        (record,) = await reader.until(1)
    assert (record.topic, record.key, record.value) == (INTERACTIONS, mark, b"\x00\xff value")
    assert record.headers["traceparent"] == f"00-{0xABC:032x}-{0xDEF:016x}-01"
    assert record.offset >= 0


async def test_records_of_one_key_keep_their_order_in_one_partition(bus, mark):
    async with open_producer(bus) as producer, Reader(bus, mark).running() as reader:
        await producer.send(records_of(mark, 600, keys=7))
        records = await reader.until(600)
    for key in {record.key for record in records}:
        mine = [record for record in records if record.key == key]
        assert len({record.partition for record in mine}) == 1
        assert [int(record.value) for record in mine] == sorted(int(record.value) for record in mine)


async def test_what_a_handler_failed_on_comes_again_and_nothing_is_skipped(bus, mark):
    reader = Reader(bus, mark)
    reader.failures = 1
    async with open_producer(bus) as producer, reader.running():
        await producer.send(records_of(mark, 20))
        await reader.until(20)
    assert {int(record.value) for record in reader.records} == set(range(20))


async def until_all_is_committed(bus, group):
    """Wait until a group has committed everything on the topic."""

    def left():
        consumer = KafkaConsumer(bootstrap_servers=bus, group_id=group, enable_auto_commit=False)
        try:
            partitions = [TopicPartition(INTERACTIONS, number) for number in range(PARTITIONS[INTERACTIONS])]
            ends = consumer.end_offsets(partitions)
            return [partition for partition in partitions if (consumer.committed(partition) or 0) < ends[partition]]
        finally:
            consumer.close()

    async with asyncio.timeout(20):
        while await asyncio.to_thread(left):  # noqa: ASYNC110 - the broker has no event to wait for
            await asyncio.sleep(0.1)


async def test_a_consumer_goes_on_where_its_group_left_off(bus, mark):
    async with open_producer(bus) as producer:
        async with Reader(bus, mark).running() as first:
            await producer.send(records_of(mark, 5))
            await first.until(5)
            await producer.send([Record(INTERACTIONS, b"other", b"")])
            await until_all_is_committed(bus, first.group)
        await producer.send([Record(INTERACTIONS, mark, b"later")])
        async with Reader(bus, mark, first.group).running() as second:
            await second.until(1)
    assert [record.value for record in second.records] == [b"later"]


async def test_nothing_to_send_is_no_error(bus):
    async with open_producer(bus) as producer:
        await producer.send([])
        await producer.ping()


async def test_a_broker_that_is_away_is_named():
    producer = Producer(free_address())
    outcomes = await asyncio.gather(
        producer.start(), producer.ping(), producer.send([Record(INTERACTIONS, b"k", b"v")]), return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes] == [BusUnavailable] * 3


async def test_a_broker_that_lost_everything_is_written_and_read_again(tmp_path, mark):
    address = free_address()
    command = parts.broker(address)
    with running(command, tmp_path / "log") as process:
        wait_for_port(address, process)
        async with open_producer(address) as producer:
            reader = Reader(address, mark, topic=DOCUMENTS_CHANGED)
            async with reader.running():
                await producer.send([Record(DOCUMENTS_CHANGED, mark, b"before")])
                await reader.until(1)
                process.kill()
                process.wait()
                with pytest.raises(BusUnavailable):
                    await producer.send([Record(DOCUMENTS_CHANGED, mark, b"lost")])
                with running(command, tmp_path / "log") as again:
                    wait_for_port(address, again)
                    await _until_sent(producer, Record(DOCUMENTS_CHANGED, mark, b"after"))
                    async with asyncio.timeout(TIMEOUT_SECONDS):
                        while reader.records[-1].value != b"after":  # noqa: ASYNC110 - what comes is not an event
                            await asyncio.sleep(0.1)
    assert reader.records[-1].value == b"after"


async def _until_sent(producer, record):
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while True:
            with contextlib.suppress(BusUnavailable):
                await producer.send([record])
                return
            await asyncio.sleep(0.2)
