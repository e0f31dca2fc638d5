"""The gate's calls: a real generate service before the memory engine, and one that scores as a test says."""

import asyncio
import contextlib

import grpc
import pytest
from tandem.generate.v1 import generate_service_pb2 as pb
from tandem.generate.v1 import generate_service_pb2_grpc as rpc

from services.common.client import Outgoing, open_channel
from services.common.errors import InvalidArgument, ResourceExhausted
from services.common.identity import IdentitySigner
from services.common.interceptors import RpcInterceptor, signed_by
from services.generate.adapters.memory import MemoryEngine
from services.tune.adapters import engine as engine_module
from services.tune.adapters.engine import GrpcEngine, Patience
from services.tune.domain.errors import CallRefused, ServiceUnavailable
from services.tune.gate.errors import ContenderAway, ContenderMoved, PromptRefused
from services.tune.gate.ports import Contender, GivenPassage, Likelihood, Prompt
from tests.integration.generate.conftest import ADA, KEY, generate_service
from tests.unit.generate.adapters import config, tensors, write
from tests.unit.generate.waiting import eventually

BASE = Contender()
PROMPT = Prompt("When?", passages=(GivenPassage("Hours", "It closes at 6 pm."),), history=(("Hello?", "Hello."),))


@pytest.fixture(autouse=True)
def _with_short_rests(monkeypatch):
    monkeypatch.setattr(engine_module, "FIRST_REST_SECONDS", 0.01)


async def reached(state):
    return state


def engine_at(channel, uri="", wait_seconds=10.0):
    outgoing = Outgoing(IdentitySigner(KEY))
    return GrpcEngine(channel, outgoing, lambda _tenant, _digest: str(uri), Patience(20, wait_seconds))


@pytest.fixture
async def generate(tmp_path):
    async with generate_service(MemoryEngine(), tmp_path / "cache") as running:
        yield running


async def test_an_answer_comes_whole_with_its_passages_and_its_times(generate):
    written = await engine_at(generate.channel).write(ADA, BASE, PROMPT, 5)
    assert (written.tokens, written.passages) == (5, (0,))
    assert written.text
    assert 0 < written.first_token_seconds <= written.seconds


async def test_a_candidate_is_loaded_answers_and_is_gone(generate, tmp_path):
    folder = write(tmp_path / "adapter", config(), tensors())
    engine = engine_at(generate.channel, folder)
    loaded = (await generate.client().load("other", folder)).digest
    candidate = Contender("candidate-1", loaded)
    await engine.load(ADA, candidate)
    assert (await engine.write(ADA, candidate, PROMPT, 5)).tokens == 5
    await engine.unload(ADA, candidate)
    await engine.unload(ADA, candidate)
    with pytest.raises(ContenderAway):
        await engine.write(ADA, candidate, PROMPT, 5)


async def test_what_is_loaded_is_what_was_judged_or_nothing_is(generate, tmp_path):
    folder = write(tmp_path / "adapter", config(), tensors())
    with pytest.raises(ContenderMoved):
        await engine_at(generate.channel, folder).load(ADA, Contender("candidate-1", "sha256:" + "0" * 64))


async def test_who_may_not_be_answered_by_it_measures_nothing(generate, tmp_path):
    folder = write(tmp_path / "adapter", config(), tensors())
    digest = (await generate.client().load("candidate-1", folder)).digest
    bob = type(ADA)("acme", "user:bob", ("user:bob",), ADA.roles)
    with pytest.raises(CallRefused, match="PERMISSION_DENIED"):
        await engine_at(generate.channel).write(bob, Contender("candidate-1", digest), PROMPT, 5)


async def test_a_prompt_that_does_not_fit_is_refused_and_no_more_than_that(generate):
    with pytest.raises(PromptRefused):
        await engine_at(generate.channel).write(ADA, BASE, Prompt("x" * 8_001), 5)


async def test_it_waits_while_users_keep_the_engine_busy(tmp_path):
    async with generate_service(MemoryEngine(20, 1, 0.02), tmp_path, max_running=1, max_waiting=1) as running:
        users = [asyncio.create_task(running.client().answer()) for _ in range(2)]
        await eventually(lambda: reached(running.admission.waiting == 1))
        assert (await engine_at(running.channel).write(ADA, BASE, PROMPT, 5)).tokens == 5
        assert all(await asyncio.gather(*users))


async def test_an_engine_that_stays_busy_or_away_is_told(tmp_path):
    async with generate_service(MemoryEngine(100_000, 1, 0.1), tmp_path, max_running=1, max_waiting=0) as running:
        user = asyncio.create_task(running.client().answer())
        await eventually(lambda: reached(running.admission.running == 1))
        with pytest.raises(ServiceUnavailable, match="RESOURCE_EXHAUSTED"):
            await engine_at(running.channel, wait_seconds=0.5).write(ADA, BASE, PROMPT, 5)
        user.cancel()
    async with open_channel("127.0.0.1:1") as nowhere:
        with pytest.raises(ServiceUnavailable, match="UNAVAILABLE"):
            await engine_at(nowhere, wait_seconds=0.1).write(ADA, BASE, PROMPT, 5)


async def test_a_measurement_that_is_ended_ends_the_engines_work(tmp_path):
    async with generate_service(MemoryEngine(100_000, 1, 0.05), tmp_path) as running:
        work = asyncio.create_task(engine_at(running.channel).write(ADA, BASE, PROMPT, 1_000))
        await eventually(lambda: reached(running.engine.running() == 1))
        work.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await work
        await eventually(lambda: reached(running.engine.running() == 0))


class Busy(ResourceExhausted):
    reason = "ENGINE_BUSY"
    retry_seconds = 0.3


class InvalidCompletions(InvalidArgument):
    reason = "INVALID_COMPLETIONS"


class Scoring(rpc.GenerateServiceServicer):
    """Scores a completion by its length, after it has been busy for so many calls."""

    def __init__(self) -> None:
        self.requests: list[pb.ScoreRequest] = []
        self.busy, self.digest = 0, ""

    async def Score(self, request, context):
        self.requests.append(request)
        if len(self.requests) <= self.busy:
            raise Busy("as many requests wait as the engine takes")
        if not all(request.completions):
            raise InvalidCompletions("a completion is empty")
        scores = [pb.Scored(logprob=-float(len(each)), tokens=len(each.split())) for each in request.completions]
        return pb.ScoreResponse(scores=scores, adapter_digest=self.digest)


@pytest.fixture
async def scoring():
    servicer = Scoring()
    server = grpc.aio.server(interceptors=[RpcInterceptor(signed_by(IdentitySigner(KEY).verify))])
    rpc.add_GenerateServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with open_channel(f"127.0.0.1:{port}") as channel:
        yield servicer, channel
    await server.stop(None)


async def test_completions_are_scored_after_the_prompt_that_is_answered(scoring):
    servicer, channel = scoring
    found = await engine_at(channel).score(ADA, BASE, PROMPT, ["at 6 pm", "never"])
    assert found == [Likelihood(-7.0, 3), Likelihood(-5.0, 1)]
    assert found[0].mean == pytest.approx(-7 / 3)
    [asked] = servicer.requests
    assert (asked.prompt.question, asked.prompt.history[0].answer) == ("When?", "Hello.")
    assert (asked.prompt.passages[0].text, asked.prompt.sampling.max_tokens) == ("It closes at 6 pm.", 256)


async def test_room_is_left_for_a_long_completion(scoring):
    servicer, channel = scoring
    await engine_at(channel).score(ADA, BASE, PROMPT, ["x" * 1_000, "y"])
    assert servicer.requests[0].prompt.sampling.max_tokens == 500


async def test_a_busy_engine_is_asked_again_when_it_says(scoring):
    servicer, channel = scoring
    servicer.busy = 2
    began = asyncio.get_running_loop().time()
    assert len(await engine_at(channel).score(ADA, BASE, PROMPT, ["yes"])) == 1
    assert len(servicer.requests) == 3
    # Twice as long as it asked for, whatever shorter rests we would have taken.
    assert asyncio.get_running_loop().time() - began >= 0.6


async def test_scores_of_another_than_the_contender_count_for_nothing(scoring):
    servicer, channel = scoring
    servicer.digest = "sha256:" + "b" * 64
    with pytest.raises(ContenderMoved):
        await engine_at(channel).score(ADA, Contender("support", "sha256:" + "a" * 64), PROMPT, ["yes"])


async def test_a_completion_that_cannot_be_scored_is_refused(scoring):
    with pytest.raises(PromptRefused):
        await engine_at(scoring[1]).score(ADA, BASE, PROMPT, [""])
