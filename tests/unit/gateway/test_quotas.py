"""What a tenant and a key may use, over real gRPC, on a clock that the test moves."""

import asyncio
import types
from collections import Counter

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from hypothesis import given, settings
from hypothesis import strategies as st
from limits.aio.storage import memory
from limits.errors import StorageError
from prometheus_client import REGISTRY
from tandem.gateway.v1 import gateway_service_pb2 as pb
from tandem.gateway.v1 import gateway_service_pb2_grpc as rpc

from services.common.identity import Identity
from services.common.quotas import UNLIMITED, QuotaExceeded, Quotas, TenantQuotas
from services.gateway.adapters.quotas import Meter, QuotasUnavailable, open_storage
from tests.unit.gateway.conftest import Watching, bearer

MINUTE = 60.0
SOON_SECONDS = 5.0
# The tokens of an answer of `Behind`: 9 of the prompt, 4 of the answer.
ANSWER_TOKENS = 13


class Clock:
    """A clock that stands still until it is told."""

    def __init__(self) -> None:
        # The start of a minute, as the windows of `limits` count them.
        self.now = 1_800_000_000.0

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    """The clock of the package `limits`."""
    clock = Clock()
    monkeypatch.setattr(memory, "time", types.SimpleNamespace(time=clock.time))
    return clock


def limited(**limits: int) -> TenantQuotas:
    return TenantQuotas({"acme": Quotas(**limits)})


def identity(tenant: str = "acme", subject: str = "key:k1", actor: str = "") -> Identity:
    return Identity(tenant, subject, ("everyone",), actor=actor)


def meter_of(quotas: TenantQuotas, keys: dict[str, Quotas] | None = None) -> Meter:
    async def of_key(key_id: str) -> Quotas:
        return (keys or {}).get(key_id, UNLIMITED)

    return Meter(open_storage("async+memory://"), quotas, of_key)


async def code_of(awaitable) -> grpc.StatusCode:
    try:
        await awaitable
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


async def admitted(meter: Meter, caller: Identity, calls: int) -> int:
    outcomes = await asyncio.gather(*(meter.request(caller) for _ in range(calls)), return_exceptions=True)
    assert all(outcome is None or isinstance(outcome, QuotaExceeded) for outcome in outcomes)
    return sum(outcome is None for outcome in outcomes)


def search(gateway, metadata):
    return gateway.asking.Search(pb.SearchRequest(query="returns"), metadata=metadata)


async def test_a_search_too_many_is_refused_and_says_when_to_come_again(starting, behind, log, clock):
    async with starting(
        behind, log, watching=Watching(quotas=limited(requests_per_minute=2), now=clock.time)
    ) as gateway:
        metadata = await gateway.signed_in()
        for _ in range(2):
            await search(gateway, metadata)
        counted = ("tandem_quota_refusals_total", {"quota": "requests", "scope": "tenant"})
        before = REGISTRY.get_sample_value(*counted) or 0
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await search(gateway, metadata)
        assert REGISTRY.get_sample_value(*counted) == before + 1
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
        details = rpc_status.from_call(caught.value).details
        assert details[0].Unpack(info)
        assert details[1].Unpack(retry)
        assert (info.reason, dict(info.metadata)) == (
            "QUOTA_EXCEEDED",
            {"quota": "requests", "scope": "tenant", "limit": "2"},
        )
        assert 0 < retry.retry_delay.ToTimedelta().total_seconds() <= MINUTE
        assert len(behind.requests) == 2
        clock.now += 2 * MINUTE
        await search(gateway, metadata)


async def test_questions_and_searches_are_counted_together_and_the_rest_is_free(starting, behind, log, clock):
    async with starting(
        behind, log, watching=Watching(quotas=limited(requests_per_minute=2), now=clock.time)
    ) as gateway:
        metadata = await gateway.signed_in()
        await search(gateway, metadata)
        await gateway.events()
        assert await code_of(search(gateway, metadata)) is grpc.StatusCode.RESOURCE_EXHAUSTED
        rating = pb.RateRequest(answer_id="a", thumb=1)
        assert await code_of(gateway.asking.Rate(rating, metadata=metadata)) is grpc.StatusCode.OK
        keys = rpc.AccessServiceStub(gateway.channel).ListApiKeys(pb.ListApiKeysRequest(), metadata=metadata)
        assert await code_of(keys) is grpc.StatusCode.OK


async def test_an_answers_tokens_are_charged_when_it_ends_and_checked_before_the_next(starting, behind, log, clock):
    quotas = limited(tokens_per_minute=ANSWER_TOKENS + 1)
    async with starting(behind, log, watching=Watching(quotas=quotas, now=clock.time)) as gateway:
        await gateway.events()
        await gateway.events()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await gateway.events()
        retry = error_details_pb2.RetryInfo()
        assert rpc_status.from_call(caught.value).details[1].Unpack(retry)
        assert retry.retry_delay.ToTimedelta().total_seconds() == pytest.approx(MINUTE)
        # A search reads no token of the language model.
        await search(gateway, await gateway.signed_in())
        clock.now += MINUTE + 1
        await gateway.events()


@pytest.mark.usefixtures("clock")
async def test_a_cancelled_answer_is_charged_for_what_was_read_and_written(starting, behind, log):
    behind.hangs = True
    async with starting(behind, log, watching=Watching(quotas=limited(tokens_per_minute=10))) as gateway:
        call = gateway.asking.Ask(pb.AskRequest(question="Why?"), metadata=await gateway.signed_in())
        # The passages, and all that is written before it hangs: 9 tokens read and 4 written.
        text = ""
        while not text.endswith("30 days."):
            text += (await call.read()).token_delta.text
        call.cancel()
        await asyncio.wait_for(behind.cancelled.wait(), SOON_SECONDS)
        assert await code_of(gateway.events()) is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_streams_are_counted_while_they_run_and_a_cancelled_one_leaves_no_trace(starting, behind, log):
    behind.hangs = True
    async with starting(behind, log, watching=Watching(quotas=limited(concurrent_streams=2))) as gateway:
        metadata = await gateway.signed_in()
        for _ in range(3):
            calls = [gateway.asking.Ask(pb.AskRequest(question="Why?"), metadata=metadata) for _ in range(2)]
            for call in calls:
                await call.read()
            third = gateway.asking.Ask(pb.AskRequest(question="Why?"), metadata=metadata)
            assert await code_of(third.read()) is grpc.StatusCode.RESOURCE_EXHAUSTED
            for call in calls:
                behind.cancelled.clear()
                call.cancel()
                await asyncio.wait_for(behind.cancelled.wait(), SOON_SECONDS)
        behind.hangs = False
        assert (await gateway.events())[-1].HasField("end")


@pytest.mark.usefixtures("clock")
async def test_a_keys_own_quota_stops_it_and_costs_its_tenant_nothing(starting, behind, log):
    watching = Watching(quotas=limited(requests_per_minute=3))
    async with starting(behind, log, watching=watching) as gateway:
        small, other = await gateway.key(), await gateway.key()
        watching.key_quotas[small.split("_")[1]] = Quotas(requests_per_minute=1)
        codes = Counter([await code_of(search(gateway, bearer(small))) for _ in range(10)])
        assert codes == {grpc.StatusCode.OK: 1, grpc.StatusCode.RESOURCE_EXHAUSTED: 9}
        codes = Counter([await code_of(search(gateway, bearer(other))) for _ in range(10)])
        assert codes == {grpc.StatusCode.OK: 2, grpc.StatusCode.RESOURCE_EXHAUSTED: 8}


@pytest.mark.usefixtures("clock")
async def test_whom_an_application_speaks_for_uses_the_applications_quota():
    meter = meter_of(TenantQuotas(), {"k1": Quotas(requests_per_minute=1)})
    await meter.request(identity(subject="user:ada", actor="key:k1"))
    with pytest.raises(QuotaExceeded):
        await meter.request(identity(subject="user:bob", actor="key:k1"))
    await meter.request(identity(subject="user:ada"))


@pytest.mark.usefixtures("clock")
async def test_as_many_calls_as_the_quota_says_are_let_in_however_many_come_at_once():
    meter = meter_of(limited(requests_per_minute=10))
    assert await admitted(meter, identity(), 100) == 10
    assert await admitted(meter, identity("rival"), 100) == 100


async def test_a_window_slides_so_that_a_new_minute_is_no_new_quota(clock):
    meter = meter_of(limited(requests_per_minute=10))
    clock.now += 59
    assert await admitted(meter, identity(), 20) == 10
    clock.now += 2
    assert await admitted(meter, identity(), 20) == 1
    clock.now += 29
    assert await admitted(meter, identity(), 20) in {4, 5}


@pytest.mark.usefixtures("clock")
async def test_a_failed_answer_gives_its_stream_back():
    meter = meter_of(limited(concurrent_streams=1))
    for _ in range(3):
        with pytest.raises(RuntimeError):
            async with meter.answer(identity()):
                raise RuntimeError
    async with meter.answer(identity()):
        with pytest.raises(QuotaExceeded):
            async with meter.answer(identity()):
                pass


@pytest.mark.usefixtures("clock")
async def test_a_refused_request_gives_its_stream_back():
    meter = meter_of(limited(concurrent_streams=1, requests_per_minute=1))
    await meter.request(identity())
    for _ in range(2):
        with pytest.raises(QuotaExceeded, match="requests"):
            async with meter.answer(identity()):
                pass


async def test_a_storage_that_is_away_lets_nobody_in_who_has_a_quota_and_breaks_no_answer(monkeypatch):
    storage = open_storage("async+memory://")

    async def away(*_: object, **__: object) -> bool:
        raise StorageError(ConnectionError())

    async def of_key(_: str) -> Quotas:
        return UNLIMITED

    meter = Meter(storage, TenantQuotas({"acme": Quotas(10, 10), "free": Quotas()}), of_key)
    async with meter.answer(identity()) as use:
        use.tokens = lambda: 5
        monkeypatch.setattr(storage, "acquire_sliding_window_entry", away)
        monkeypatch.setattr(storage, "incr", away)
    with pytest.raises(QuotasUnavailable):
        await meter.request(identity())
    await meter.request(identity("free"))


async def test_only_an_async_storage_is_taken():
    with pytest.raises(TypeError):
        open_storage("memory://")


TENANTS = st.sampled_from(["a", "b", "c"])


@given(
    limits=st.dictionaries(TENANTS, st.integers(1, 5)),
    calls=st.lists(st.tuples(TENANTS, st.sampled_from(["k1", "k2"])), max_size=40),
    key_limit=st.integers(0, 5),
)
@settings(max_examples=60)
def test_within_a_minute_each_tenant_and_key_has_its_own_and_nobody_elses(limits, calls, key_limit):
    """Against a model that counts: one tenant's use is never another's."""

    async def play() -> None:
        clock = Clock()
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(memory, "time", types.SimpleNamespace(time=clock.time))
            quotas = TenantQuotas({tenant: Quotas(requests_per_minute=limit) for tenant, limit in limits.items()})
            meter = meter_of(quotas, {"k1": Quotas(requests_per_minute=key_limit)})
            by_key, by_tenant = Counter(), Counter()
            for tenant, key in calls:
                key_free = key != "k1" or not key_limit or by_key[tenant] < key_limit
                allowed = key_free and (tenant not in limits or by_tenant[tenant] < limits[tenant])
                try:
                    await meter.request(identity(tenant, f"key:{key}"))
                except QuotaExceeded:
                    assert not allowed
                else:
                    assert allowed
                    by_tenant[tenant] += 1
                by_key[tenant] += key == "k1" and key_free

    asyncio.run(play())
