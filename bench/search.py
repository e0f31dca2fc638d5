"""Search through the gateway beside the same hybrid search by pymilvus with the same embedding backend."""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import grpc
from tandem.gateway.v1 import gateway_service_pb2 as pb
from tandem.gateway.v1 import gateway_service_pb2_grpc as rpc

from bench.direct import Direct
from bench.platform import Platform
from bench.report import Row, median, quantile

SEARCHES = 150
WARM = 20
CLIENTS = 8
SECONDS = 5.0
ROUNDS = 3
TOP_K = 8
P50_AT_MOST = 1.3
RATE_AT_LEAST = 2.5


async def measure(platform: Platform, direct: Direct, plain: Direct, questions: Sequence[str]) -> list[Row]:
    """Return one client's latency beside `direct`, and 8 clients' rate beside `plain` in 8 threads.

    `direct` embeds with the platform's backend, `plain` with float32 sentence-transformers.
    """
    return [*await _latency(platform, direct, questions), await _rate(platform, plain, questions)]


async def _latency(platform: Platform, direct: Direct, questions: Sequence[str]) -> list[Row]:
    ours: list[float] = []
    theirs: list[float] = []
    for number in range(WARM + SEARCHES):
        question = questions[number % len(questions)]
        mine = await _timed_search(platform.gateway, platform.metadata, question)
        reference = _timed(lambda q: direct.search(q, TOP_K), question)
        if number >= WARM:
            ours.append(mine)
            theirs.append(reference)
    rows = []
    for label, share in (("p50", 0.5), ("p95", 0.95)):
        mine, reference = quantile(ours, share), quantile(theirs, share)
        rows.append(Row(f"search, 1 client: {label}", "ms", mine, reference, mine / reference, at_most=P50_AT_MOST))
    return rows


async def _timed_search(stub: rpc.GatewayServiceStub, metadata: tuple[tuple[str, str], ...], question: str) -> float:
    started = time.perf_counter()
    await stub.Search(pb.SearchRequest(query=question, top_k=TOP_K), metadata=metadata)
    return (time.perf_counter() - started) * 1000


def _timed(call: Callable[[str], object], argument: str) -> float:
    started = time.perf_counter()
    call(argument)
    return (time.perf_counter() - started) * 1000


async def _rate(platform: Platform, plain: Direct, questions: Sequence[str]) -> Row:
    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(ROUNDS):
        ours.append(await _platform_rate(platform, questions))
        theirs.append(await asyncio.to_thread(_plain_rate, plain, questions))
    mine, reference = median(ours), median(theirs)
    return Row("search, 8 clients", "1/s", mine, reference, mine / reference, at_least=RATE_AT_LEAST)


async def _platform_rate(platform: Platform, questions: Sequence[str]) -> float:
    async with grpc.aio.insecure_channel(platform.address) as channel:
        stub = rpc.GatewayServiceStub(channel)
        started = time.perf_counter()

        async def client(first: int) -> int:
            done = 0
            while time.perf_counter() - started < SECONDS:
                await _timed_search(stub, platform.metadata, questions[(first + done) % len(questions)])
                done += 1
            return done

        counts = await asyncio.gather(*(client(number * 37) for number in range(CLIENTS)))
        return sum(counts) / (time.perf_counter() - started)


def _plain_rate(plain: Direct, questions: Sequence[str]) -> float:
    started = time.perf_counter()

    def client(first: int) -> int:
        done = 0
        while time.perf_counter() - started < SECONDS:
            plain.search(questions[(first + done) % len(questions)], TOP_K)
            done += 1
        return done

    with ThreadPoolExecutor(CLIENTS) as pool:
        counts = list(pool.map(client, range(0, CLIENTS * 37, 37)))
    return sum(counts) / (time.perf_counter() - started)
