"""Every RPC has an identity, and ends in a status that shows what it may and nothing else."""

import asyncio
import time

import grpc
import pytest
from google.rpc import error_details_pb2
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from services.common import errors
from services.common.access import EVERY_ROLE
from services.common.identity import METADATA_KEY, Identity, IdentitySigner
from services.common.interceptors import details_of
from tests.unit.common.echo import (
    ADA,
    KINDS,
    SERVICE,
    Echo,
    begin,
    call,
    info_of,
    serving,
    signed,
    status_of,
)

pytestmark = pytest.mark.parametrize("kind", KINDS)


class Busy(errors.ResourceExhausted):
    reason = "QUEUE_FULL"
    retry_seconds = 1.5


def raising(error):
    async def behave(_context):
        raise error

    return behave


async def refused(channel, kind, metadata=None):
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call(channel, kind, metadata)
    return raised.value


async def test_a_signed_call_is_answered_for_its_caller(kind):
    echo = Echo()
    async with serving(echo) as channel:
        assert (await call(channel, kind))[-1] == b"hi"
    assert echo.callers == [ADA]


async def test_calls_at_once_keep_their_own_callers(kind):
    echo = Echo()
    people = [Identity(f"tenant-{number}", "user:x", (), EVERY_ROLE) for number in range(20)]
    async with serving(echo) as channel:
        await asyncio.gather(*(call(channel, kind, signed(one)) for one in people))
    assert sorted(one.tenant_id for one in echo.callers) == sorted(one.tenant_id for one in people)


@pytest.mark.parametrize(
    "metadata",
    [
        (),
        ((METADATA_KEY, b""),),
        ((METADATA_KEY, b"x" * 100),),
        (("tandem-identity", "text"),),
        signed(signer=IdentitySigner(b"x" * 32)),
        signed(signer=IdentitySigner(b"k" * 32, now=lambda: time.time() - 3600)),
        signed(Identity("", "user:ada", (), EVERY_ROLE)),
    ],
    ids=["none", "empty", "forged", "not binary", "another key", "expired", "no tenant"],
)
async def test_without_a_good_identity_nothing_is_run(kind, metadata):
    echo = Echo()
    async with serving(echo) as channel:
        error = await refused(channel, kind, metadata)
    assert error.code() == grpc.StatusCode.UNAUTHENTICATED
    assert info_of(error).reason == "IDENTITY_MISSING"
    assert echo.callers == []


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.InvalidArgument("m"), grpc.StatusCode.INVALID_ARGUMENT),
        (errors.NotFound("m"), grpc.StatusCode.NOT_FOUND),
        (errors.AlreadyExists("m"), grpc.StatusCode.ALREADY_EXISTS),
        (errors.FailedPrecondition("m"), grpc.StatusCode.FAILED_PRECONDITION),
        (errors.Unavailable("m"), grpc.StatusCode.UNAVAILABLE),
    ],
)
async def test_an_error_becomes_its_status(kind, error, code):
    async with serving(Echo(raising(error))) as channel:
        status = await refused(channel, kind)
    assert (status.code(), status.details(), info_of(status).reason) == (code, "m", error.reason)


async def test_an_error_s_facts_and_delay_travel_with_it(kind):
    error = Busy("the queue of 日本 is full", at_most=64, name="Grüße")
    async with serving(Echo(raising(error))) as channel:
        status = await refused(channel, kind)
    assert (status.code(), status.details()) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "the queue of 日本 is full")
    info, retry = info_of(status), error_details_pb2.RetryInfo()
    assert (info.reason, info.domain, dict(info.metadata)) == (
        "QUEUE_FULL",
        "tandem",
        {"at_most": "64", "name": "Grüße"},
    )
    assert status_of(status).details[1].Unpack(retry)
    assert retry.retry_delay.ToMilliseconds() == 1500


@pytest.mark.parametrize("error", [ValueError("password=hunter2"), KeyError("x"), TimeoutError("x")])
async def test_what_is_unknown_is_shown_as_an_internal_error_and_logged_whole(kind, error):
    with capture_logs() as logs:
        async with serving(Echo(raising(error))) as channel:
            status = await refused(channel, kind)
    assert (status.code(), status.details()) == (grpc.StatusCode.INTERNAL, "internal error")
    assert "hunter2" not in str(status.trailing_metadata())
    (unexpected,) = [line for line in logs if line["event"] == "unexpected_error"]
    assert unexpected["exc_info"] is error


async def test_a_status_from_behind_passes_with_its_details(kind):
    async with serving(Echo(raising(Busy("full", at_most=3)))) as behind:

        async def forward(_context):
            await call(behind, "unary_unary")

        async with serving(Echo(forward)) as channel:
            status = await refused(channel, kind)
    assert (status.code(), status.details()) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "full")
    assert (info_of(status).reason, dict(info_of(status).metadata)) == ("QUEUE_FULL", {"at_most": "3"})


async def test_an_internal_error_from_behind_shows_nothing_of_itself(kind):
    async def leak(context):
        await context.abort(grpc.StatusCode.UNKNOWN, "at /srv/secret.py line 3")

    async with serving(Echo(leak)) as behind:

        async def forward(_context):
            await call(behind, "unary_unary")

        async with serving(Echo(forward)) as channel:
            status = await refused(channel, kind)
    assert (status.code(), status.details()) == (grpc.StatusCode.INTERNAL, "internal error")


async def test_an_abort_of_the_handler_s_own_stays_as_it_is(kind):
    async def abort(context):
        await context.abort(grpc.StatusCode.OUT_OF_RANGE, "beyond")

    async with serving(Echo(abort)) as channel:
        status = await refused(channel, kind)
    assert (status.code(), status.details()) == (grpc.StatusCode.OUT_OF_RANGE, "beyond")


async def test_a_client_that_goes_away_ends_the_handler(kind):
    inside = asyncio.Event()

    async def hang(_context):
        inside.set()
        await asyncio.sleep(60)

    echo = Echo(hang)
    async with serving(echo) as channel:
        started = begin(channel, kind, timeout=30)
        await inside.wait()
        started.cancel()
        async with asyncio.timeout(5):
            await echo.cancelled.wait()
    assert started.cancelled()


async def test_a_deadline_ends_the_handler(kind):
    echo = Echo(lambda _context: asyncio.sleep(60))
    async with serving(echo) as channel:
        await channel.channel_ready()
        started = begin(channel, kind, timeout=1)
        async with asyncio.timeout(5):
            await echo.cancelled.wait()
        assert await started.code() == grpc.StatusCode.DEADLINE_EXCEEDED


async def test_a_finished_call_is_one_log_line_without_its_text(kind):
    with capture_logs() as logs:
        async with serving(Echo()) as channel:
            await call(channel, kind, request=b"the secret document")
    (line,) = logs
    assert (line["event"], line["rpc"], line["code"], line["reason"]) == (
        "rpc_finished",
        f"/{SERVICE}/{kind}",
        "OK",
        "",
    )
    assert set(line) == {"event", "rpc", "code", "reason", "ms", "trace_id", "log_level"}
    assert "secret" not in str(line)


async def test_a_failed_call_s_log_line_says_code_and_reason_only(kind):
    with capture_logs() as logs:
        async with serving(Echo(raising(Busy("message with secret text", fact="secret")))) as channel:
            await refused(channel, kind)
    (line,) = logs
    assert (line["code"], line["reason"]) == ("RESOURCE_EXHAUSTED", "QUEUE_FULL")
    assert "secret" not in str(line)


async def test_calls_are_counted_by_method_and_code(kind):
    def counted(code):
        labels = {"rpc": f"/{SERVICE}/{kind}", "code": code}
        return REGISTRY.get_sample_value("tandem_rpc_duration_seconds_count", labels) or 0.0

    before = counted("OK"), counted("UNAUTHENTICATED")
    async with serving(Echo()) as channel:
        await call(channel, kind)
        await refused(channel, kind, ())
    assert (counted("OK"), counted("UNAUTHENTICATED")) == (before[0] + 1, before[1] + 1)


async def test_the_callers_trace_goes_on(kind):
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    metadata = (*signed(), ("traceparent", f"00-{trace_id}-b7ad6b7169203331-01"))
    with capture_logs() as logs:
        async with serving(Echo()) as channel:
            await call(channel, kind, metadata)
    assert logs[0]["trace_id"] == trace_id


async def test_an_unknown_method_is_unimplemented(kind):
    async with serving(Echo()) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await channel.unary_unary(f"/{SERVICE}/{kind}x")(b"", timeout=10)
    assert raised.value.code() == grpc.StatusCode.UNIMPLEMENTED


async def test_details_without_a_delay_hold_no_retry_info(kind):
    assert b"RetryInfo" not in details_of(errors.NotFound("m", kind=kind))
    assert b"RetryInfo" in details_of(Busy("m", kind=kind))
