"""Reranking takes the time it is given; what it did not read keeps its place behind."""

import asyncio

from prometheus_client import REGISTRY

from services.retrieve.adapters.memory import MemoryReranker
from services.retrieve.domain.tuning import Tuning
from services.retrieve.ports import RerankerUnavailable
from services.retrieve.reranking import BATCH, Reranking
from tests.unit.retrieve.rows import hit

HITS = [hit("a", 0, 0.9, text="one"), hit("b", 0, 0.8, text="two words"), hit("c", 0, 0.7, text="two")]


class Slow(MemoryReranker):
    """Reads one batch, and no second."""

    def __init__(self):
        self.read = 0

    async def scores(self, reranker, query, texts):
        if self.read:
            await asyncio.sleep(60)
        self.read += len(texts)
        return await super().scores(reranker, query, texts)


class Broken:
    async def scores(self, reranker, query, texts):
        raise RerankerUnavailable("there is no such reranker")


def outcomes(outcome):
    return REGISTRY.get_sample_value("tandem_retrieve_rerankings_total", {"outcome": outcome}) or 0


def names(reranked):
    return [one.document_id for one in reranked.hits]


async def test_what_the_reranker_finds_better_comes_first():
    reranked = await Reranking(MemoryReranker(), 1).rerank("two words", HITS, Tuning(), None)
    assert (names(reranked), reranked.count) == (["b", "c", "a"], 3)
    assert [one.rerank_score for one in reranked.hits] == [1.0, 0.5, 0.0]


async def test_only_as_many_as_the_tuning_says_are_read():
    reranked = await Reranking(MemoryReranker(), 1).rerank("two words", HITS, Tuning(rerank_depth=2), None)
    assert (names(reranked), reranked.count) == (["b", "a", "c"], 2)
    assert reranked.hits[2].rerank_score is None


async def test_weights_count_in_what_is_reranked_too():
    weighed = [hit("a", 0, 0.9, text="two words", weight=0.1), hit("b", 0, 0.8, text="two")]
    assert names(await Reranking(MemoryReranker(), 1).rerank("two words", weighed, Tuning(), None)) == ["b", "a"]


async def test_what_was_not_read_in_time_keeps_its_order_behind():
    before = outcomes("late")
    hits = [hit(f"d{number:02}", 0, text="no" if number < BATCH - 1 else "two words") for number in range(3 * BATCH)]
    reranked = await Reranking(Slow(), 0.05).rerank("two words", hits, Tuning(), None)
    assert reranked.count == BATCH
    assert names(reranked)[0] == f"d{BATCH - 1:02}"
    assert names(reranked)[BATCH:] == [one.document_id for one in hits[BATCH:]]
    assert outcomes("late") - before == 1


async def test_the_calls_deadline_is_shared():
    reranker = Slow()
    reranker.read = 1
    async with asyncio.timeout(2):
        assert (await Reranking(reranker, 60).rerank("two words", HITS, Tuning(), 0.1)).count == 0


async def test_a_reranker_that_fails_costs_the_order_and_not_the_answer():
    before = outcomes("failed")
    reranked = await Reranking(Broken(), 1).rerank("two words", HITS, Tuning(), None)
    assert (reranked.hits, reranked.count) == (HITS, 0)
    assert outcomes("failed") - before == 1


async def test_without_a_reranker_or_where_it_is_off_nothing_is_read():
    for reranking, tuning in (
        (Reranking(None, 1), Tuning()),
        (Reranking(MemoryReranker(), 1), Tuning(rerank_off=True)),
    ):
        assert (await reranking.rerank("two words", HITS, tuning, None)).count == 0
