"""A server says SERVING only while it is, ends with its tasks, and stops when told."""

import asyncio
import urllib.request

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from tandem.embed.v1 import embed_service_pb2  # noqa: F401 - so that its descriptor is known

from services.common.interceptors import signed_by
from services.common.server import Service, serve
from tests.conftest import free_address
from tests.unit.common.echo import SIGNER, Echo, call

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


class Running:
    """A server in a task, and a channel to it."""

    def __init__(self, echo=None, **facts):
        self.stop = asyncio.Event()
        self.started = asyncio.Event()
        defaults = {
            "address": free_address(),
            "metrics_address": free_address(),
            "authenticate": signed_by(SIGNER.verify),
            "register": (echo or Echo()).register,
            "names": ("tandem.embed.v1.EmbedService",),
            "started": lambda _port: self.started.set(),
        }
        self.service = Service(**defaults | facts)
        self.address, self.metrics_address = self.service.address, self.service.metrics_address

    async def __aenter__(self):
        self.task = asyncio.create_task(serve(self.service, self.stop))
        self.channel = grpc.aio.insecure_channel(self.address)
        return self

    async def __aexit__(self, *_):
        self.stop.set()
        await asyncio.wait({self.task}, timeout=10)
        await self.channel.close()

    async def health(self):
        request = health_pb2.HealthCheckRequest()
        answer = await health_pb2_grpc.HealthStub(self.channel).Check(request, timeout=10, wait_for_ready=True)
        return answer.status


async def test_health_needs_no_identity_and_says_serving():
    async with Running() as server:
        await server.started.wait()
        assert await server.health() == SERVING


async def test_reflection_needs_no_identity_and_lists_the_services():
    async with Running() as server:
        await server.started.wait()
        stub = reflection_pb2_grpc.ServerReflectionStub(server.channel)
        requests = [reflection_pb2.ServerReflectionRequest(list_services="")]
        (answer,) = [one async for one in stub.ServerReflectionInfo(iter(requests), timeout=10)]
        names = {one.name for one in answer.list_services_response.service}
    assert {"tandem.embed.v1.EmbedService", "grpc.health.v1.Health"} <= names


async def test_everything_else_needs_an_identity():
    async with Running() as server:
        await server.started.wait()
        assert await call(server.channel, "unary_unary") == [b"hi"]
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call(server.channel, "unary_unary", ())
    assert raised.value.code() == grpc.StatusCode.UNAUTHENTICATED


async def test_a_server_is_not_serving_before_its_pings_pass():
    ready = asyncio.Event()

    async def ping():
        if not ready.is_set():
            raise ConnectionError("the database is not there")

    async with Running(pings=(ping,)) as server:
        assert await server.health() == NOT_SERVING
        assert not server.started.is_set()
        ready.set()
        await server.started.wait()
        assert await server.health() == SERVING


async def test_a_server_that_never_got_ready_stops_too():
    async def ping():
        raise ConnectionError("never there")

    async with Running(pings=(ping,)) as server:
        assert await server.health() == NOT_SERVING
        server.stop.set()
        async with asyncio.timeout(10):
            await server.task
    assert not server.started.is_set()


async def test_a_call_in_flight_is_finished_while_stopping_and_nobody_else_is_told_to_come():
    inside, go = asyncio.Event(), asyncio.Event()

    async def wait(_context):
        inside.set()
        await go.wait()

    async with Running(Echo(wait)) as server:
        await server.started.wait()
        watching = health_pb2_grpc.HealthStub(server.channel).Watch(health_pb2.HealthCheckRequest())
        assert (await watching.read()).status == SERVING
        calling = asyncio.create_task(call(server.channel, "unary_unary"))
        await inside.wait()
        server.stop.set()
        assert (await watching.read()).status == NOT_SERVING
        watching.cancel()
        go.set()
        assert await calling == [b"hi"]
        async with asyncio.timeout(10):
            await server.task


async def test_tasks_run_beside_the_server_and_end_with_it():
    running, ended = asyncio.Event(), asyncio.Event()

    async def task():
        running.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with Running(tasks=(task,)) as server:
        async with asyncio.timeout(10):
            await running.wait()
            await server.started.wait()
    assert ended.is_set()


async def test_a_task_that_fails_ends_the_server_with_its_error():
    async def task():
        raise LookupError("a bug")

    async with Running(tasks=(task,)) as server:
        with pytest.raises(ExceptionGroup) as raised:
            await asyncio.wait_for(server.task, 15)
    assert raised.group_contains(LookupError, match="a bug")


async def test_metrics_are_for_prometheus_to_read():
    async with Running() as server:
        await server.started.wait()
        await call(server.channel, "unary_unary")
        text = await asyncio.to_thread(_read, f"http://{server.metrics_address}/metrics")
    assert 'tandem_rpc_duration_seconds_count{code="OK",rpc="/test.Echo/unary_unary"}' in text


def _read(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read().decode()


async def test_an_address_that_is_taken_stops_the_start():
    async with Running() as server:
        await server.started.wait()
        with pytest.raises(RuntimeError):
            await serve(Running(address=server.address).service, asyncio.Event())


async def test_an_address_can_serve_again_after_a_stop():
    async with Running() as first:
        await first.started.wait()
    async with Running(address=first.address, metrics_address=first.metrics_address) as second:
        async with asyncio.timeout(10):
            await second.started.wait()
        assert await second.health() == SERVING
