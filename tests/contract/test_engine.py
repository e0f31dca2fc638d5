"""What every engine does, on the memory engine and on vLLM."""

import asyncio
import contextlib
import itertools
import os
import signal

import psutil
import pytest
import pytest_asyncio

from services.common.lora.errors import InvalidAdapter
from services.generate.adapters.memory import MemoryEngine
from services.generate.domain.errors import EngineDead, InvalidCompletions
from services.generate.domain.sampling import Sampling
from services.generate.ports import EngineAdapter, FinishReason, Job, ScoreJob
from services.generate.settings import Settings
from tests.integration.generate.tiny_model import write_adapter, write_model
from tests.unit.generate.waiting import eventually

# vLLM belongs to the loop that it was started on.
pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

IDS = itertools.count(1)
LONG = 900


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def vllm_engine(tmp_path_factory):
    os.environ |= {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "VLLM_LOGGING_LEVEL": "ERROR"}
    from services.generate.adapters.vllm import VllmEngine

    folder = write_model(tmp_path_factory.mktemp("model"))
    settings = Settings(model=str(folder), max_model_len=1024, max_tokens=512, kv_cache_bytes=1 << 28, max_loras=2)
    engine = VllmEngine.start(settings.vllm_options(folder))
    yield engine
    engine.close()


@pytest.fixture(params=["memory", "vllm"], scope="module")
def engine(request):
    if request.param == "memory":
        return MemoryEngine(tokens=10_000, step_tokens=1, step_seconds=0.001)
    return request.getfixturevalue("vllm_engine")


@pytest_asyncio.fixture(loop_scope="module")
async def adapter(engine, tmp_path):
    number = next(IDS)
    adapter = EngineAdapter(number, f"adapter-{number}", str(write_adapter(tmp_path / "adapter")))
    await engine.load(adapter)
    yield adapter
    await engine.unload(adapter.id)


def job(max_tokens, adapter=None, prompt=(5, 6, 7), temperature=0.0):
    return Job(f"job-{next(IDS)}", list(prompt), Sampling(max_tokens, temperature), "salt", adapter)


async def answer(engine, wanted):
    async with engine.answering(wanted) as steps:
        return [step async for step in steps]


async def until_running(engine, count):
    async def reached():
        return engine.running() == count

    await eventually(reached)


async def test_an_answer_ends_at_its_limit_of_tokens(engine):
    steps = await answer(engine, job(9))
    assert sum(step.tokens for step in steps) == 9
    assert [step.reason for step in steps][-1] is FinishReason.LENGTH
    assert all(step.reason is None for step in steps[:-1])
    assert engine.running() == 0


async def test_an_answer_comes_as_it_is_written(engine):
    steps = await answer(engine, job(30))
    assert len(steps) > 1
    assert "".join(step.text for step in steps)


async def test_the_same_greedy_question_gets_the_same_answer(engine):
    first, second = [
        "".join([step.text for step in await answer(engine, job(16, prompt=range(10, 40)))]) for _ in range(2)
    ]
    assert first == second


async def test_many_jobs_run_at_once(engine):
    answers = await asyncio.gather(*(answer(engine, job(5 + n)) for n in range(6)))
    assert [sum(step.tokens for step in steps) for steps in answers] == [5, 6, 7, 8, 9, 10]
    assert engine.running() == 0


async def test_forgetting_prompts_ends_no_answer(engine):
    other = asyncio.create_task(answer(engine, job(200, prompt=range(10, 40))))
    await until_running(engine, 1)
    await engine.forget_prompts()
    await engine.forget_prompts()
    assert sum(step.tokens for step in await other) == 200
    steps = await answer(engine, job(4, prompt=range(10, 40)))
    assert max(step.cached_tokens for step in steps) == 0


async def test_leaving_an_answer_stops_it(engine):
    async with engine.answering(job(LONG)) as steps:
        await anext(steps)
        assert engine.running() == 1
    await until_running(engine, 0)
    assert engine.running() == 0


async def test_leaving_before_the_first_step_stops_it(engine):
    async with engine.answering(job(LONG)):
        assert engine.running() == 1
    await until_running(engine, 0)
    assert engine.running() == 0


async def test_cancelling_an_answer_stops_it_and_no_other(engine):
    task = asyncio.create_task(answer(engine, job(LONG)))
    other = asyncio.create_task(answer(engine, job(200)))
    await until_running(engine, 2)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert sum(step.tokens for step in await other) == 200
    assert task.cancelled()
    await until_running(engine, 0)


async def test_an_adapter_answers_until_it_is_unloaded(engine, adapter):
    assert adapter.id in await engine.adapters()
    steps = await answer(engine, job(4, adapter))
    assert sum(step.tokens for step in steps) == 4
    await engine.unload(adapter.id)
    assert adapter.id not in await engine.adapters()
    await engine.unload(adapter.id)


def score_job(adapter=None, completion=(200, 201, 202, 203)):
    return ScoreJob(f"score-{next(IDS)}", list(range(10, 60)), list(completion), "salt", adapter)


async def test_a_completion_has_a_score_for_each_token_and_always_the_same(engine, adapter):
    first, again = [await engine.score(score_job(adapter)) for _ in range(2)]
    assert len(first) == 4
    assert all(score < 0 for score in first)
    assert first == again
    assert engine.running() == 0


async def test_an_adapter_scores_otherwise_than_the_base_model(engine, adapter):
    assert await engine.score(score_job(adapter)) != await engine.score(score_job())


async def test_scores_are_the_same_while_answers_are_written(engine, adapter):
    alone = await engine.score(score_job(adapter))
    other = asyncio.create_task(answer(engine, job(200, adapter)))
    await until_running(engine, 1)
    beside = await engine.score(score_job(adapter))
    assert beside == pytest.approx(alone, abs=0.05)
    assert sum(step.tokens for step in await other) == 200


async def test_vllm_refuses_to_score_what_is_no_token_or_too_long(vllm_engine):
    for completion in ([10_000_000], range(200, 1400)):
        with pytest.raises(InvalidCompletions):
            await vllm_engine.score(score_job(completion=completion))
    assert await vllm_engine.score(score_job())


async def test_a_living_engine_answers_a_ping_and_is_not_dead(engine):
    await engine.ping()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(engine.until_dead(), 0.05)


async def test_vllm_holds_no_memory_for_an_answer_that_was_left(vllm_engine):
    async with vllm_engine.answering(job(LONG)) as steps:
        await anext(steps)
        assert not await vllm_engine.holds_no_memory()
    assert await vllm_engine.holds_no_memory()


async def test_vllm_never_splits_a_character(vllm_engine):
    answers = [await answer(vllm_engine, job(200, prompt=range(n, n + 20), temperature=1.5)) for n in (1, 100, 1000)]
    assert all(step.text.encode().decode() == step.text for steps in answers for step in steps)
    assert [sum(step.tokens for step in steps) for steps in answers] == [200, 200, 200]


async def test_vllm_answers_otherwise_with_an_adapter(vllm_engine, adapter):
    prompt = range(10, 40)
    base, tuned = [
        "".join([step.text for step in await answer(vllm_engine, job(24, wanted, prompt))])
        for wanted in (None, adapter)
    ]
    assert base != tuned


async def test_vllm_serves_a_repeated_beginning_from_its_cache_for_one_tenant_only(vllm_engine):
    prompt = list(range(100, 500))
    first, second = [await answer(vllm_engine, job(2, prompt=prompt)) for _ in range(2)]
    other = Job("other-tenant", prompt, Sampling(2), "another salt")
    assert first[-1].cached_tokens == 0
    # The first step tells it: what is counted there counts also of an answer that its caller leaves.
    assert second[0].cached_tokens >= 256
    assert max(step.cached_tokens for step in await answer(vllm_engine, other)) == 0


async def test_vllm_survives_an_adapter_that_it_refuses(vllm_engine, tmp_path):
    with pytest.raises(InvalidAdapter):
        await vllm_engine.load(EngineAdapter(10_000, "nowhere", str(tmp_path / "nowhere")))
    assert sum(step.tokens for step in await answer(vllm_engine, job(3))) == 3


async def test_memory_tells_of_its_death():
    engine = MemoryEngine(tokens=10_000, step_tokens=1, step_seconds=0.001)
    await check_that_death_is_told(engine, engine.kill)


async def test_vllm_tells_of_its_death(vllm_engine):
    # The last of its tests, for nothing brings it back.
    await check_that_death_is_told(vllm_engine, kill_vllm)


async def check_that_death_is_told(engine, kill):
    watch = asyncio.create_task(engine.until_dead())
    with pytest.raises(EngineDead):
        await answer_while(engine, kill)
    with pytest.raises(EngineDead):
        await asyncio.wait_for(watch, 10)
    with pytest.raises(EngineDead):
        await answer(engine, job(1))
    with pytest.raises(EngineDead):
        await engine.ping()


async def answer_while(engine, happens):
    async with engine.answering(job(LONG)) as steps, asyncio.timeout(30):
        await anext(steps)
        happens()
        async for _ in steps:
            pass


def kill_vllm():
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if "EngineCore" in child.name() or "EngineCore" in "".join(child.cmdline()):
                child.send_signal(signal.SIGKILL)
