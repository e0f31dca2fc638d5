"""Queries go first, what waits together is embedded together, and faults stay with their texts."""

import asyncio
import threading

import numpy as np
import pytest

from services.common.identity import system
from services.embed.adapters.memory import MemoryEmbedder
from services.embed.domain import InvalidVector
from services.embed.lanes import LaneLimits, QueueFull, Text, open_lanes

ACME = system("acme", "test")
LIMITS = LaneLimits(query_batch=4, query_queue=8, batch_tokens=10)


class HeldEmbedder(MemoryEmbedder):
    """Keeps its first batch until it is let go, and notes all."""

    def __init__(self):
        super().__init__()
        self.batches = []
        self.go = threading.Event()

    def embed(self, texts):
        self.batches.append(list(texts))
        assert self.go.wait(10)
        return super().embed(texts)


class FaultyEmbedder(MemoryEmbedder):
    """Gives no direction for some texts, and fails on others."""

    def embed(self, texts):
        if "raise" in texts:
            raise ValueError(texts)
        vectors = super().embed(texts)
        for number, text in enumerate(texts):
            if text in {"nan", "zero"}:
                vectors[number] = np.nan if text == "nan" else 0
        return vectors


async def until(condition):
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - it waits for a thread
            await asyncio.sleep(0.001)


async def test_queries_that_wait_go_before_documents_and_together():
    embedder = HeldEmbedder()
    async with open_lanes(embedder, LIMITS) as lanes:
        documents = asyncio.create_task(lanes.embed_documents(ACME, [Text(f"d{n}", 10) for n in range(4)]))
        await until(lambda: embedder.batches)
        queries = [asyncio.create_task(lanes.embed_queries([f"q{n}"])) for n in range(6)]
        await asyncio.sleep(0)
        embedder.go.set()
        await asyncio.gather(documents, *queries)
    assert embedder.batches == [["d0"], ["q0", "q1", "q2", "q3"], ["q4", "q5"], ["d1"], ["d2"], ["d3"]]


async def test_documents_are_batched_by_length_and_come_back_in_order():
    embedder = HeldEmbedder()
    embedder.go.set()
    async with open_lanes(embedder, LIMITS) as lanes:
        vectors = await lanes.embed_documents(ACME, [Text("long", 9), Text("a", 2), Text("huge", 50), Text("b", 3)])
    assert embedder.batches == [["a", "b"], ["long"], ["huge"]]
    expected = MemoryEmbedder().embed(["long", "a", "huge", "b"])
    assert np.array_equal(np.array(vectors), expected)


async def test_too_many_waiting_queries_are_refused():
    embedder = HeldEmbedder()
    async with open_lanes(embedder, LIMITS) as lanes:
        running = asyncio.create_task(lanes.embed_queries(["first"]))
        await until(lambda: embedder.batches)
        waiting = asyncio.create_task(lanes.embed_queries(["q"] * 8))
        await asyncio.sleep(0)
        with pytest.raises(QueueFull):
            await lanes.embed_queries(["one more"])
        embedder.go.set()
        assert len(await waiting) == 8
        await running


async def test_documents_wait_instead():
    embedder = HeldEmbedder()
    async with open_lanes(embedder, LIMITS) as lanes:
        work = asyncio.create_task(lanes.embed_documents(ACME, [Text(f"d{n}", 10) for n in range(100)]))
        await until(lambda: embedder.batches)
        assert not work.done()
        embedder.go.set()
        assert len(await work) == 100


async def test_a_query_whose_caller_went_away_is_not_embedded():
    embedder = HeldEmbedder()
    async with open_lanes(embedder, LIMITS) as lanes:
        running = asyncio.create_task(lanes.embed_queries(["first"]))
        await until(lambda: embedder.batches)
        gone = asyncio.create_task(lanes.embed_queries(["gone"]))
        await asyncio.sleep(0)
        gone.cancel()
        stays = asyncio.create_task(lanes.embed_queries(["stays"]))
        await asyncio.sleep(0)
        embedder.go.set()
        await asyncio.gather(running, stays)
    assert embedder.batches == [["first"], ["stays"]]


@pytest.mark.parametrize("bad", ["nan", "zero"])
async def test_a_text_without_direction_spoils_no_other(bad):
    async with open_lanes(FaultyEmbedder(), LIMITS) as lanes:
        good, fault = await lanes.embed_documents(ACME, [Text("good", 1), Text(bad, 1)])
        with pytest.raises(InvalidVector):
            await lanes.embed_queries([bad])
    assert np.isfinite(good).all()
    assert isinstance(fault, InvalidVector)


async def test_the_lanes_outlive_a_model_that_raises():
    async with open_lanes(FaultyEmbedder(), LIMITS) as lanes:
        with pytest.raises(ValueError, match="raise"):
            await lanes.embed_documents(ACME, [Text("raise", 1)])
        assert len(await lanes.embed_queries(["still here"])) == 1


async def test_no_texts_need_no_model():
    async with open_lanes(HeldEmbedder(), LIMITS) as lanes:
        assert await lanes.embed_documents(ACME, []) == []


async def test_a_tenants_texts_wait_for_one_batch_of_anothers():
    embedder = HeldEmbedder()
    async with open_lanes(embedder, LIMITS) as lanes:
        busy = asyncio.create_task(lanes.embed_documents(ACME, [Text(f"d{n}", 10) for n in range(20)]))
        await until(lambda: embedder.batches)
        quiet = asyncio.create_task(lanes.embed_documents(system("quiet", "test"), [Text("q", 10)]))
        await asyncio.sleep(0)
        embedder.go.set()
        await asyncio.gather(busy, quiet)
    assert ["q"] in embedder.batches[:3]
