"""A call to a service behind carries identity, trace and deadline, and is tried again while that is away."""

import asyncio
import contextlib

import grpc
import pytest
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from services.common.client import Outgoing, open_channel
from services.common.errors import InvalidArgument, Unavailable
from services.common.identity import METADATA_KEY
from tests.conftest import free_address
from tests.unit.common.echo import ADA, SERVICE, SIGNER, Echo, call, signed


class Call:
    """What is left of an RPC's deadline."""

    def __init__(self, seconds):
        self._seconds = seconds

    def time_remaining(self):
        return self._seconds


@pytest.mark.parametrize(("left", "expected"), [(None, 5.0), (10.0, 5.0), (0.05, 0.05)])
def test_a_call_lasts_no_longer_than_its_caller_s_or_its_own_limit(left, expected):
    assert Outgoing(SIGNER)(ADA, Call(left), 5.0)["timeout"] == expected


def test_a_call_carries_the_identity_signed_anew():
    metadata = dict(Outgoing(SIGNER)(ADA, Call(None), 5.0)["metadata"])
    assert SIGNER.verify(metadata[METADATA_KEY]) == ADA


def test_a_call_carries_the_trace():
    span = NonRecordingSpan(SpanContext(0xABC, 0xDEF, is_remote=False, trace_flags=TraceFlags(1)))
    with trace.use_span(span):
        metadata = dict(Outgoing(SIGNER)(ADA, Call(None), 5.0)["metadata"])
    assert metadata["traceparent"] == f"00-{0xABC:032x}-{0xDEF:016x}-01"


@contextlib.asynccontextmanager
async def echo_on(address, echo):
    from services.common.interceptors import RpcInterceptor, signed_by

    server = grpc.aio.server(interceptors=[RpcInterceptor(signed_by(SIGNER.verify))])
    echo.register(server)
    server.add_insecure_port(address)
    await server.start()
    yield
    await server.stop(None)


@pytest.mark.parametrize(("error", "tries"), [(Unavailable("away"), 4), (InvalidArgument("wrong"), 1)])
async def test_only_what_is_unavailable_is_tried_again(error, tries):
    async def fail(_context):
        raise error

    echo, address = Echo(fail), free_address()
    async with echo_on(address, echo), open_channel(address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call(channel, "unary_unary")
    assert raised.value.code() == error.code
    assert len(echo.callers) == tries


async def test_a_service_that_starts_late_is_reached():
    address = free_address()
    async with open_channel(address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call(channel, "unary_unary")
        assert raised.value.code() == grpc.StatusCode.UNAVAILABLE
        async with echo_on(address, Echo()):
            method = channel.unary_unary(f"/{SERVICE}/unary_unary")
            assert await method(b"hi", metadata=signed(), timeout=10, wait_for_ready=True) == b"hi"


async def test_a_large_message_passes_and_a_larger_one_is_refused():
    address = free_address()
    async with echo_on(address, Echo()), open_channel(address) as channel:
        method = channel.unary_unary(f"/{SERVICE}/unary_unary")
        assert await method(b"x" * 3_000_000, metadata=signed(), timeout=10)
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await method(b"x" * (41 * 1024 * 1024), metadata=signed(), timeout=10)
    assert raised.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_a_deadline_that_is_over_is_over_at_once():
    address = free_address()
    async with echo_on(address, Echo(lambda _context: asyncio.sleep(5))), open_channel(address) as channel:
        method = channel.unary_unary(f"/{SERVICE}/unary_unary")
        options = Outgoing(SIGNER)(ADA, Call(0.0), 5.0)
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await method(b"hi", **options)
    assert raised.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
