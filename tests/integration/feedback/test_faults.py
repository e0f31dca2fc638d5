"""An acknowledged rating is never lost and never counted twice, whatever dies (invariant 5)."""

import asyncio
import contextlib
import signal

import asyncpg
import grpc
import pytest
from tandem.feedback.v1 import events_pb2
from tandem.feedback.v1 import feedback_service_pb2 as pb

from services.cli import parts, postgres
from tests.conftest import free_address, running, wait_for_port
from tests.integration.feedback.running import (
    Process,
    called_by,
    database_beside,
    interaction,
    publish,
    published_ratings,
    stub_of,
    tenant,
    until,
)
from tests.manifest import migrate

UP = events_pb2.THUMB_UP


class Broker:
    """A broker of the test's own; killed, it forgets everything."""

    def __init__(self, log):
        self.address, self._log = free_address(), log
        self._stack = contextlib.ExitStack()

    def start(self):
        process = self._stack.enter_context(running(parts.broker(self.address), self._log))
        wait_for_port(self.address, process)

    def stop(self):
        self._stack.close()


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    broker = Broker(tmp_path_factory.mktemp("broker") / "log")
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture(scope="module")
def own_database(database_url):
    """A database that no other service's relay empties."""
    url = asyncio.run(database_beside(database_url))
    asyncio.run(migrate(url))
    return url


@pytest.fixture(scope="module")
def process(broker, own_database, tmp_path_factory):
    """A service on a broker and a database of its own; every test leaves it running."""
    log = tmp_path_factory.mktemp("feedback") / "log"
    with Process(free_address(), free_address(), own_database, broker.address, log).running() as process:
        yield process


async def rate(stub, answer_ids, tenant_id, interaction_id, thumb=UP):
    request = pb.RateRequest(answer_id=answer_ids.mint(tenant_id, interaction_id), thumb=thumb)
    return (await stub.Rate(request, **called_by(tenant_id))).rating


async def kept_ids(database_url, tenant_id):
    connection = await asyncpg.connect(database_url.replace("+asyncpg", ""))
    try:
        query = "SELECT rating_id FROM feedback.ratings WHERE tenant_id = $1 ORDER BY rated_at"
        return [row["rating_id"] for row in await connection.fetch(query, tenant_id)]
    finally:
        await connection.close()


async def published_ids(bus, tenant_id):
    return [record.rating_id for record in await asyncio.to_thread(published_ratings, bus, tenant_id)]


async def test_ratings_outlive_a_killed_service_and_an_emptied_broker(broker, process, own_database, answer_ids):
    name = tenant()
    await process.ready()
    async with stub_of(process) as stub:
        first = await rate(stub, answer_ids, name, "i1")
        assert await until(lambda: published_ids(broker.address, name)) == [first.rating_id]
        broker.stop()
        # Nobody waits for the broker: the rating is acknowledged from PostgreSQL.
        second = await rate(stub, answer_ids, name, "i2")
        process.stop(signal.SIGKILL)
        broker.start()
        process.start()
        await process.ready()
        assert await rate(stub, answer_ids, name, "i2") == second
    assert await kept_ids(own_database, name) == [first.rating_id, second.rating_id]
    # The first was lost with the broker, not from the database; a repeat would bear its id.
    assert second.rating_id in await until(lambda: published_ids(broker.address, name))
    assert set(await published_ids(broker.address, name)) <= {first.rating_id, second.rating_id}


async def test_a_kill_in_the_middle_of_ratings_loses_and_doubles_none(broker, process, own_database, answer_ids):
    name, acknowledged = tenant(), {}
    # Few at a time, so that the kills come before all are acknowledged, however late this process looks.
    at_once = asyncio.Semaphore(10)

    async def rate_until_acknowledged(number):
        while number not in acknowledged:
            async with at_once:
                with contextlib.suppress(grpc.aio.AioRpcError):
                    acknowledged[number] = (await rate(stub, answer_ids, name, f"i{number}")).rating_id

    await process.ready()
    async with stub_of(process) as stub, asyncio.TaskGroup() as group:
        for number in range(300):
            group.create_task(rate_until_acknowledged(number))
        for _ in range(2):
            count = len(acknowledged)
            while len(acknowledged) < count + 40:  # noqa: ASYNC110 - the kill must come in their midst
                await asyncio.sleep(0.001)
            process.stop(signal.SIGKILL)
            assert len(acknowledged) < 300
            process.start()
    kept = await kept_ids(own_database, name)
    assert sorted(kept) == sorted(acknowledged.values())
    assert len(set(kept)) == 300

    async def all_published():
        return set(await published_ids(broker.address, name)) == set(kept)

    assert await until(all_published)


async def test_interactions_are_stored_once_by_a_killed_consumer_and_after_an_emptied_broker(broker, process):
    name = tenant()
    await process.ready()
    await publish(broker.address, *(interaction(name, f"i{number}") for number in range(400)))

    async def count():
        request = pb.ListInteractionsRequest(page_size=500)
        return len((await stub.ListInteractions(request, **called_by(name))).interactions)

    async def is_stored(expected):
        return await count() == expected

    async with stub_of(process) as stub:
        await until(count)
        process.stop(signal.SIGKILL)
        process.start()
        await process.ready()
        assert await until(lambda: is_stored(400))
        broker.stop()
        broker.start()
        await publish(broker.address, interaction(name, "new"))
        assert await until(lambda: is_stored(401), seconds=40)


async def test_the_service_outlives_a_restarted_database(broker, tmp_path, answer_ids):
    data, name = tmp_path / "data", tenant()
    url = postgres.url_of(data)
    with contextlib.ExitStack() as stack:
        database = stack.enter_context(contextlib.ExitStack())
        database.enter_context(running(parts.postgres(data), tmp_path / "postgres"))
        await migrate(url)
        process = Process(free_address(), free_address(), url, broker.address, tmp_path / "log")
        stack.enter_context(process.running())
        await process.ready()
        async with stub_of(process) as stub:
            kept = await rate(stub, answer_ids, name, "i1")
            database.close()
            with pytest.raises(grpc.aio.AioRpcError) as failed:
                await rate(stub, answer_ids, name, "i2")
            assert failed.value.code() is grpc.StatusCode.UNAVAILABLE
            database.enter_context(running(parts.postgres(data), tmp_path / "postgres"))

            async def rated_again():
                with contextlib.suppress(grpc.aio.AioRpcError):
                    return await rate(stub, answer_ids, name, "i1")

            assert await until(rated_again) == kept
            # The outbox is relayed again, too.
            last = await rate(stub, answer_ids, name, "i3")

            async def published():
                return last.rating_id in await published_ids(broker.address, name)

            assert await until(published)
