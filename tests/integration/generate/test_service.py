"""The service over gRPC, before an engine that is instant, slow or dead."""

import asyncio
import contextlib
import math

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client import REGISTRY
from tandem.generate.v1 import generate_service_pb2 as pb

from services.generate.adapters.memory import MemoryEngine
from tests.integration.generate.conftest import BOB, details_of, generate_service
from tests.unit.generate.adapters import config, tensors, write
from tests.unit.generate.waiting import eventually

C = grpc.StatusCode


@pytest.fixture
async def instant(tmp_path):
    async with generate_service(MemoryEngine(), tmp_path) as running:
        yield running


@pytest.fixture
async def slow(tmp_path):
    """A step of one token every 100 ms: an answer outlasts every wait of a test."""
    async with generate_service(MemoryEngine(100_000, 1, 0.1), tmp_path) as running:
        yield running


async def idle(running):
    async def reached():
        busy = (running.engine.running(), running.admission.running, running.admission.waiting)
        return busy == (0, 0, 0)

    await eventually(reached)


def tokens_written():
    return REGISTRY.get_sample_value("tandem_generate_completion_tokens_total")


async def refusal(call):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return details_of(caught.value)[:2]


async def read_all(call):
    while await call.read() is not grpc.aio.EOF:
        pass


async def test_an_answer_is_started_written_and_finished(instant):
    passages = [pb.ContextPassage(title="Hours", text="Nine to five."), pb.ContextPassage(title="Tea", text="Free.")]
    history = [pb.Turn(question="Hello?", answer="Hello.")]
    responses = await instant.client().answer(passages=passages, history=history)
    [response] = responses
    started, delta, finished = response.started, response.delta, response.finished
    assert "Nine to five." in started.prompt
    assert (started.passages_used, started.turns_used, started.model) == (2, 1, "Tiny-Model")
    assert list(started.passage_indexes) == [0, 1]
    assert started.prompt_tokens > 0
    assert (delta.tokens, finished.completion_tokens) == (32, 32)
    assert finished.reason == pb.FINISH_REASON_STOP


async def test_an_answer_that_reaches_its_limit_says_so(instant):
    responses = await instant.client().answer(sampling=pb.Sampling(max_tokens=5))
    assert responses[-1].finished.reason == pb.FINISH_REASON_LENGTH
    assert responses[-1].finished.completion_tokens == 5


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"question": ""}, "EMPTY_QUESTION"),
        ({"question": "\x00\x07\x1b"}, "EMPTY_QUESTION"),
        ({"question": "a" * 100_000}, "QUESTION_TOO_LONG"),
        ({"question": "é" * 8_001}, "QUESTION_TOO_LONG"),
        ({"instructions": "be kind " * 100_000}, "QUESTION_TOO_LONG"),
        ({"sampling": pb.Sampling(max_tokens=-1)}, "INVALID_SAMPLING"),
        ({"sampling": pb.Sampling(temperature=-1)}, "INVALID_SAMPLING"),
        ({"sampling": pb.Sampling(temperature=2.5)}, "INVALID_SAMPLING"),
        ({"sampling": pb.Sampling(temperature=math.nan)}, "INVALID_SAMPLING"),
        ({"sampling": pb.Sampling(temperature=math.inf)}, "INVALID_SAMPLING"),
        ({"sampling": pb.Sampling(top_p=1.5)}, "INVALID_SAMPLING"),
        ({"sampling": pb.Sampling(top_p=math.nan)}, "INVALID_SAMPLING"),
    ],
)
async def test_what_can_never_be_answered_is_refused(instant, fields, reason):
    assert await refusal(instant.client().answer(**fields)) == (C.INVALID_ARGUMENT, reason)
    await idle(instant)


@pytest.mark.parametrize(
    "question", ["何時に開きますか", "متى؟", "कब?", "🕘", "a\x00b", "x" * 8000, "<|im_start|>system"]
)
async def test_any_other_question_is_answered(instant, question):
    assert (await instant.client().answer(question))[-1].HasField("finished")


async def test_passages_and_history_beyond_any_model_are_left_out(instant):
    passages = [pb.ContextPassage(title="t", text="word " * 100_000)] * 20
    history = [pb.Turn(question="word " * 10_000, answer="a")] * 20
    started = (await instant.client().answer(passages=passages, history=history))[0].started
    assert (started.passages_used, started.turns_used) == (1, 0)
    assert started.prompt_tokens <= 2048 - 256


async def test_a_long_passage_gives_way_to_what_is_worth_more(instant):
    sizes = {"a": (200, 1.0), "b": (1400, 0.5), "c": (300, 0.4), "d": (300, 0.3)}
    passages = [
        pb.ContextPassage(title=name, text=f"{name} " * size, score=score) for name, (size, score) in sizes.items()
    ]
    started = (await instant.client().answer(passages=passages))[0].started
    assert list(started.passage_indexes) == [0, 2, 3]


@pytest.mark.parametrize(
    ("length", "words", "tokens"),
    [
        (pb.ANSWER_LENGTH_UNSPECIFIED, "in one short sentence", 256),
        (pb.ANSWER_LENGTH_SHORT, "in one short sentence", 96),
        (pb.ANSWER_LENGTH_LONG, "with every detail", 768),
        (99, "in one short sentence", 256),
    ],
)
async def test_an_answers_length_is_asked_for_and_bounded(tmp_path, length, words, tokens):
    passages = [pb.ContextPassage(title="t", text="x", score=math.nan)]
    async with generate_service(MemoryEngine(2000), tmp_path) as running:
        told = await running.client().answer(passages=passages, answer_length=length)
        explicit = await running.client().answer(answer_length=length, sampling=pb.Sampling(max_tokens=7))
    assert words in told[0].started.prompt
    assert told[-1].finished.completion_tokens == tokens
    assert explicit[-1].finished.completion_tokens == 7


async def test_an_unknown_adapter_is_not_found(instant):
    assert await refusal(instant.client().answer(adapter="nobody")) == (C.NOT_FOUND, "ADAPTER_NOT_FOUND")
    await idle(instant)


async def test_a_call_without_an_identity_is_refused(instant):
    assert (await refusal(instant.client(None).answer()))[0] == C.UNAUTHENTICATED
    assert (await refusal(instant.client(None).list()))[0] == C.UNAUTHENTICATED


async def test_a_client_that_goes_away_stops_the_engine(slow):
    call = slow.client().generate()
    await call.read()
    await call.read()
    assert slow.engine.running() == 1
    call.cancel()
    await idle(slow)
    assert call.cancelled()


async def test_a_client_that_goes_away_before_it_reads_stops_the_engine(slow):
    call = slow.client().generate()

    async def running():
        return slow.engine.running() == 1

    await eventually(running)
    call.cancel()
    await idle(slow)
    assert call.cancelled()


async def test_a_client_that_reads_nothing_and_then_goes_away_stops_the_engine(tmp_path):
    async with generate_service(MemoryEngine(100_000, 1, 0.1), tmp_path) as running:
        call = running.client().generate(sampling=pb.Sampling(max_tokens=1024))
        await asyncio.sleep(0.3)
        call.cancel()
        await idle(running)
        assert call.cancelled()


async def test_an_engine_whose_client_goes_away_stops_within_a_step(tmp_path):
    async with generate_service(MemoryEngine(100_000, 1, 0.5), tmp_path) as running:
        call = running.client().generate()
        await call.read()
        written = tokens_written()
        call.cancel()
        await idle(running)
        await asyncio.sleep(1.5)
        assert tokens_written() - written <= 1


async def test_a_deadline_of_50_ms_stops_the_engine(slow):
    assert (await refusal(slow.client().answer(timeout=0.05)))[0] == C.DEADLINE_EXCEEDED
    await idle(slow)


async def test_a_deadline_passes_while_waiting_too(slow):
    client = slow.client()
    calls = [client.generate() for _ in range(2)]
    for call in calls:
        await call.read()
    assert (await refusal(client.answer(timeout=0.05)))[0] == C.DEADLINE_EXCEEDED
    for call in calls:
        call.cancel()
    await idle(slow)


async def test_more_than_may_wait_are_told_when_to_come_back(slow):
    client = slow.client()
    calls = [client.generate() for _ in range(4)]

    async def full():
        return (slow.admission.running, slow.admission.waiting) == (2, 2)

    await eventually(full)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.answer()
    assert details_of(caught.value) == (C.RESOURCE_EXHAUSTED, "ENGINE_BUSY", 1.0)
    for call in calls:
        call.cancel()
    await idle(slow)


async def test_who_waited_is_answered_when_a_place_is_free(slow):
    client = slow.client()
    calls = [client.generate() for _ in range(3)]
    for call in calls[:2]:
        await call.read()
    calls[0].cancel()
    assert (await calls[2].read()).HasField("started")
    for call in calls[1:]:
        call.cancel()
    await idle(slow)


async def test_a_dead_engine_ends_its_streams_and_the_service(slow):
    health = health_pb2_grpc.HealthStub(slow.channel)
    assert (await health.Check(health_pb2.HealthCheckRequest())).status == health_pb2.HealthCheckResponse.SERVING
    call = slow.client().generate()
    await call.read()
    slow.engine.kill()
    assert await refusal(read_all(call)) == (C.UNAVAILABLE, "ENGINE_DEAD")
    with pytest.raises(ExceptionGroup):
        await slow.served


async def test_adapters_are_loaded_listed_used_and_unloaded(instant, tmp_path):
    client = instant.client()
    adapter = await client.load("support", write(tmp_path / "a"))
    assert (adapter.name, adapter.rank, adapter.base_model) == ("support", 2, "Tiny-Model")
    assert adapter.digest.startswith("sha256:")
    assert (await client.answer(adapter="support"))[0].started.adapter_digest == adapter.digest
    assert list((await client.list()).adapters) == [adapter]
    await client.unload("support")
    await client.unload("support")
    assert not (await client.list()).adapters
    assert await refusal(client.answer(adapter="support")) == (C.NOT_FOUND, "ADAPTER_NOT_FOUND")


async def test_a_replaced_adapter_ends_the_streams_that_it_began(slow, tmp_path):
    client = slow.client()
    first = await client.load("support", write(tmp_path / "a"))
    call = client.generate(adapter="support")
    assert (await call.read()).started.adapter_digest == first.digest
    second = await client.load("support", write(tmp_path / "b", weights=tensors(value=0.25)))
    other = client.generate(adapter="support")
    assert (await other.read()).started.adapter_digest == second.digest != first.digest
    assert (await call.read()).HasField("delta")
    assert len(await slow.engine.adapters()) == 2
    call.cancel()

    async def one_left():
        return len(await slow.engine.adapters()) == 1

    await eventually(one_left)
    assert (await other.read()).HasField("delta")
    other.cancel()


async def test_no_tenant_sees_uses_or_unloads_anothers_adapter(instant, tmp_path):
    mine, theirs = instant.client(), instant.client(BOB)
    await mine.load("support", write(tmp_path / "a"))
    assert not (await theirs.list()).adapters
    assert await refusal(theirs.answer(adapter="support")) == (C.NOT_FOUND, "ADAPTER_NOT_FOUND")
    await theirs.unload("support")
    assert [adapter.name for adapter in (await mine.list()).adapters] == ["support"]


@pytest.mark.parametrize(
    ("name", "configuration", "expected"),
    [
        ("bad name", None, (C.INVALID_ARGUMENT, "INVALID_ADAPTER_NAME")),
        ("", None, (C.INVALID_ARGUMENT, "INVALID_ADAPTER_NAME")),
        ("a", config(r=64), (C.INVALID_ARGUMENT, "INVALID_ADAPTER")),
        ("a", config(base_model_name_or_path="x/Other"), (C.INVALID_ARGUMENT, "INVALID_ADAPTER")),
    ],
)
async def test_what_is_no_adapter_is_refused(instant, tmp_path, name, configuration, expected):
    folder = write(tmp_path / "a", configuration)
    assert await refusal(instant.client().load(name, folder)) == expected
    assert not await instant.engine.adapters()


async def test_a_uri_that_holds_nothing_is_not_found(instant, tmp_path):
    assert await refusal(instant.client().load("a", tmp_path / "none")) == (C.NOT_FOUND, "ADAPTER_NOT_FOUND")


async def test_adapters_are_listed_in_pages(instant, tmp_path):
    client = instant.client()
    folder = write(tmp_path / "a")
    for name in ("d", "b", "a", "c", "e"):
        await client.load(name, folder)
    first = await client.list(2)
    second = await client.list(2, first.next_page_token)
    third = await client.list(2, second.next_page_token)
    pages = [[adapter.name for adapter in page.adapters] for page in (first, second, third)]
    assert pages == [["a", "b"], ["c", "d"], ["e"]]
    assert third.next_page_token == ""
    assert await refusal(client.list(-1)) == (C.INVALID_ARGUMENT, "INVALID_PAGE")
    assert await refusal(client.list(2, "§")) == (C.INVALID_ARGUMENT, "INVALID_PAGE")


async def test_every_path_gives_its_place_back(slow):
    client = slow.client()
    for fields in ({"question": ""}, {"adapter": "none"}, {"timeout": 0.05}):
        with contextlib.suppress(grpc.aio.AioRpcError):
            await client.answer(**fields)
    await idle(slow)
    call = client.generate()
    assert (await call.read()).HasField("started")
    call.cancel()
