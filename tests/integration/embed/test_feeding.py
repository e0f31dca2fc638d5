"""Records of the real broker are worked on fairly, each document's in order, and never lost."""

import asyncio
import contextlib
import uuid

import pytest
from tandem.ingest.v1 import events_pb2

from services.cli import parts
from services.common.bus import DOCUMENTS_CHANGED, BusUnavailable, Record, key_of, open_producer
from services.common.consuming import Subscription
from services.common.errors import Unavailable
from services.embed.feeding import feed
from services.embed.scheduling import Limits
from tests.conftest import free_address, running, wait_for_port

LIMITS = Limits(group_documents=4, groups=3, groups_a_tenant=2)
TIMEOUT_SECONDS = 45


class Away(Unavailable):
    reason = "AWAY"


def changed(tenant, document, version=1):
    message = events_pb2.DocumentChanged(tenant_id=tenant, document_id=document, version=version)
    return Record(DOCUMENTS_CHANGED, key_of(tenant, document), message.SerializeToString())


class Worker:
    """Handles groups as it is told to, and notes what it brought to an end; others' records pass it by."""

    def __init__(self, bootstrap, mark, group="", limits=LIMITS):
        self.group = group or uuid.uuid4().hex
        self.done = []
        self.groups = []
        self.fault = None
        self.open = asyncio.Event()
        self.open.set()
        self._mark = mark
        self._limits = limits
        self._subscription = Subscription(bootstrap, (DOCUMENTS_CHANGED,), self.group, 500)

    async def handle(self, records):
        mine = [events_pb2.DocumentChanged.FromString(record.value) for record in records]
        mine = [message for message in mine if message.tenant_id.startswith(self._mark)]
        if not mine:
            return
        self.groups.append([message.document_id for message in mine])
        await self.open.wait()
        if self.fault:
            await self.fault(mine)
        self.done += [
            (message.tenant_id.removeprefix(self._mark), message.document_id, message.version) for message in mine
        ]

    async def until(self, condition):
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while not condition():  # noqa: ASYNC110 - what comes is not an event
                await asyncio.sleep(0.02)

    @contextlib.asynccontextmanager
    async def running(self):
        task = asyncio.create_task(feed(self._subscription, self._limits, self.handle))
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.wait({task}, timeout=TIMEOUT_SECONDS)
            assert task.cancelled()


@pytest.fixture
def mark():
    return uuid.uuid4().hex


async def test_a_quiet_tenants_change_goes_before_anothers_backlog(bus, mark):
    worker = Worker(bus, mark)
    worker.open.clear()
    async with open_producer(bus) as producer, worker.running():
        await producer.send([changed(f"{mark}busy", f"d{n}") for n in range(200)])
        await worker.until(lambda: len(worker.groups) == 2)
        await producer.send([changed(f"{mark}quiet", "q")])
        await worker.until(lambda: ["q"] in worker.groups)
        worker.open.set()
        await worker.until(lambda: len(worker.done) == 201)
    assert len({document for _, document, _ in worker.done}) == 201


async def test_of_a_document_changed_many_times_the_newest_is_worked_on_last(bus, mark):
    worker = Worker(bus, mark)
    worker.open.clear()
    async with open_producer(bus) as producer, worker.running():
        await producer.send([changed(f"{mark}a", "first")])
        await worker.until(lambda: worker.groups)
        await producer.send([changed(f"{mark}a", "d", version) for version in range(1, 301)])
        worker.open.set()
        await worker.until(lambda: ("a", "d", 300) in worker.done)
    versions = [version for _, document, version in worker.done if document == "d"]
    assert versions == sorted(set(versions))
    assert len(versions) < 300


async def test_a_part_that_is_away_keeps_one_tenant_waiting_and_no_other(bus, mark):
    worker, away = Worker(bus, mark), True

    async def fault(messages):
        if away and messages[0].tenant_id.endswith("dedicated"):
            raise Away("its index is away")

    worker.fault = fault
    async with open_producer(bus) as producer, worker.running():
        await producer.send([changed(f"{mark}dedicated", f"d{n}") for n in range(20)])
        await worker.until(lambda: len(worker.groups) >= 2)
        await producer.send([changed(f"{mark}b", f"b{n}") for n in range(20)])
        await worker.until(lambda: len(worker.done) == 20)
        assert {tenant for tenant, *_ in worker.done} == {"b"}
        away = False
        await worker.until(lambda: len(worker.done) == 40)


async def test_what_was_not_done_comes_again_to_the_next_and_what_was_done_does_not(bus, mark):
    first = Worker(bus, mark)
    async with open_producer(bus) as producer:
        async with first.running():
            await producer.send([changed(f"{mark}a", f"d{n}") for n in range(10)])
            await first.until(lambda: len(first.done) == 10)
            # What comes later is held: what was done before is committed meanwhile.
            first.open.clear()
            await producer.send([changed(f"{mark}b", "held")])
            await first.until(lambda: ["held"] in first.groups)
            await asyncio.sleep(1)
        second = Worker(bus, mark, first.group)
        async with second.running():
            await second.until(lambda: ("b", "held", 1) in second.done)
    assert {tenant for tenant, *_ in second.done} == {"b"}


async def test_a_second_replica_takes_its_share_while_nothing_is_lost_or_worked_on_twice_at_once(bus, mark):
    first, second = Worker(bus, mark), None
    async with open_producer(bus) as producer, first.running():
        await producer.send([changed(f"{mark}a", f"d{n}") for n in range(40)])
        await first.until(lambda: len(first.done) == 40)
        second = Worker(bus, mark, first.group)
        async with second.running():
            number = 0
            async with asyncio.timeout(TIMEOUT_SECONDS):
                while not second.done:
                    await producer.send([changed(f"{mark}a", f"e{number}")])
                    number += 1
                    await asyncio.sleep(0.05)
            await first.until(lambda: _both(first, second) >= {f"e{n}" for n in range(number)})


def _both(*workers):
    return {document for worker in workers for _, document, _ in worker.done}


async def test_a_handler_that_breaks_is_given_the_records_again(bus, mark):
    worker, broken = Worker(bus, mark), [True]

    async def fault(_):
        if broken and broken.pop():
            raise RuntimeError("the handler failed")

    worker.fault = fault
    async with open_producer(bus) as producer, worker.running():
        await producer.send([changed(f"{mark}a", f"d{n}") for n in range(30)])
        await worker.until(lambda: len(_both(worker)) == 30)


async def test_a_broker_that_lost_everything_is_read_from_its_beginning(tmp_path, mark):
    address = free_address()
    command = parts.broker(address)
    worker = Worker(address, mark)
    with running(command, tmp_path / "log") as process:
        wait_for_port(address, process)
        async with open_producer(address) as producer, worker.running():
            await producer.send([changed(f"{mark}a", f"before{n}") for n in range(10)])
            await worker.until(lambda: len(worker.done) == 10)
            process.kill()
            process.wait()
            with running(command, tmp_path / "log") as again:
                wait_for_port(address, again)
                await _until_sent(producer, [changed(f"{mark}a", f"after{n}") for n in range(5)])
                await worker.until(lambda: _both(worker) >= {f"after{n}" for n in range(5)})


async def _until_sent(producer, records):
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while True:
            with contextlib.suppress(BusUnavailable):
                await producer.send(records)
                return
            await asyncio.sleep(0.2)
