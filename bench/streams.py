"""Streams a second and first bytes through gateway and generate, before an instant engine."""

import asyncio
import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator

import grpc
from tandem.gateway.v1 import gateway_service_pb2 as pb
from tandem.gateway.v1 import gateway_service_pb2_grpc as rpc

from bench.platform import Platform, free_address, wait_for_port
from bench.report import Row, median, quantile

CLIENTS = (1, 16, 64)
SECONDS = 4.0
ROUNDS = 3
AT_LEAST = 0.8
ASSISTANT = "bench-instant"


@contextlib.contextmanager
def bare_proxy(messages: int) -> Iterator[str]:
    """Give the address of a bare proxy before a bare backend, each its own process."""
    backend, proxy = free_address(), free_address()
    command = [sys.executable, "-m", "bench.bare"]
    with (
        subprocess.Popen([*command, "backend", backend, str(messages)]) as first,
        subprocess.Popen([*command, "proxy", proxy, backend]) as second,
    ):
        try:
            wait_for_port(backend)
            wait_for_port(proxy)
            yield proxy
        finally:
            second.terminate()
            first.terminate()


async def measure(platform: Platform) -> list[Row]:
    """Return, for each number of clients, streams a second and first bytes beside the bare proxy's."""
    await platform.put_assistant(ASSISTANT, without_retrieval=True)
    messages = await _count_messages(platform)
    rows: list[Row] = []
    with bare_proxy(messages) as bare:
        for clients in CLIENTS:
            ours, theirs = await _in_turn(platform, bare, clients)
            rows += _rows(clients, ours, theirs)
    return rows


async def _in_turn(platform: Platform, bare: str, clients: int) -> tuple["Load", "Load"]:
    ours, theirs = Load(), Load()
    for _ in range(ROUNDS):
        await _load(bare, (), clients, theirs)
        await _load(platform.address, platform.metadata, clients, ours)
    return ours, theirs


class Load:
    """What the clients saw, over all rounds."""

    def __init__(self) -> None:
        self.rates: list[float] = []
        self.first_ms: list[float] = []


async def _load(address: str, metadata: tuple[tuple[str, str], ...], clients: int, load: Load) -> None:
    async with grpc.aio.insecure_channel(address) as channel:
        stub = rpc.GatewayServiceStub(channel)
        await _stream(stub, metadata)
        end = time.perf_counter() + SECONDS
        started = time.perf_counter()
        results = await asyncio.gather(*(_client(stub, metadata, end) for _ in range(clients)))
        first = [each for result in results for each in result]
        load.rates.append(len(first) / (time.perf_counter() - started))
        load.first_ms += first


async def _client(stub: rpc.GatewayServiceStub, metadata: tuple[tuple[str, str], ...], end: float) -> list[float]:
    first: list[float] = []
    while time.perf_counter() < end:
        first.append(await _stream(stub, metadata))
    return first


async def _stream(stub: rpc.GatewayServiceStub, metadata: tuple[tuple[str, str], ...]) -> float:
    """Run one stream to its end and return the milliseconds to its first token."""
    started = time.perf_counter()
    first = 0.0
    request = pb.AskRequest(question="What is the answer?", assistant=ASSISTANT)
    async for event in stub.Ask(request, metadata=metadata):
        if not first and event.HasField("token_delta"):
            first = (time.perf_counter() - started) * 1000
    return first


async def _count_messages(platform: Platform) -> int:
    request = pb.AskRequest(question="What is the answer?", assistant=ASSISTANT)
    return len([event async for event in platform.gateway.Ask(request, metadata=platform.metadata)])


def _rows(clients: int, ours: Load, theirs: Load) -> list[Row]:
    name = f"instant engine, {clients} client{'s' * (clients > 1)}"
    rate, reference = median(ours.rates), median(theirs.rates)
    rows = [Row(f"{name}: streams", "1/s", rate, reference, rate / reference, at_least=AT_LEAST)]
    for label, share in (("p50", 0.5), ("p99", 0.99)):
        mine, bare = quantile(ours.first_ms, share), quantile(theirs.first_ms, share)
        rows.append(Row(f"{name}: first byte {label}", "ms", mine, bare, bare / mine, at_least=AT_LEAST))
    return rows
