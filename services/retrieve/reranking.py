"""Candidates read again by a cross-encoder, as far as time allows."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import structlog

from services.common.faults import described
from services.retrieve.domain.hits import Hit
from services.retrieve.domain.tuning import Tuning
from services.retrieve.metrics import RERANK, RERANKED, stage
from services.retrieve.ports import Reranker

# Of what is left of the call's deadline; the rest is for what comes after.
DEADLINE_SHARE = 0.5
# What is read at once: large enough for the model, small enough that time is not overrun by much.
BATCH = 10

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Reranked:
    """Hits, best first, of which the first `count` have been read by the reranker."""

    hits: Sequence[Hit]
    count: int


class Reranking:
    """Reranks within a time limit. What was not read in time, or could not be, comes behind in its own order."""

    def __init__(
        self, reranker: Reranker | None, at_most_seconds: float, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._reranker = reranker
        self._at_most_seconds = at_most_seconds
        self._now = now

    async def rerank(self, query: str, hits: Sequence[Hit], tuning: Tuning, left_seconds: float | None) -> Reranked:
        """Return `hits`, best first, reranked; `left_seconds` is what the call has left, if it has a limit."""
        if self._reranker is None or tuning.rerank_off or not hits:
            return Reranked(hits, 0)
        limit = self._at_most_seconds
        if left_seconds is not None:
            limit = min(limit, left_seconds * DEADLINE_SHARE)
        with stage(RERANK):
            scores = await self._scores(self._reranker, query, hits[: tuning.rerank_depth], tuning.reranker, limit)
        return Reranked(reordered(hits, scores), len(scores))

    async def _scores(
        self, reranker: Reranker, query: str, hits: Sequence[Hit], digest: str, limit: float
    ) -> list[float]:
        """Return the scores of the first hits, as many as there was time for."""
        scores: list[float] = []
        outcome = "whole"
        try:
            async with asyncio.timeout(limit):
                for start in range(0, len(hits), BATCH):
                    texts = [_text_of(hit) for hit in hits[start : start + BATCH]]
                    scores += map(float, await reranker.scores(digest, query, texts))
        except TimeoutError:
            outcome = "late"
        except Exception as error:  # noqa: BLE001 - a search is answered without it, whatever is wrong with it
            outcome = "failed"
            log.warning("rerank_failed", error=described(error))
        RERANKED.labels(outcome).inc()
        return scores


def reordered(hits: Sequence[Hit], scores: Sequence[float]) -> list[Hit]:
    """Return the first hits by their new scores, 0 to 1, and behind them the others in their own order."""
    read = [
        replace(hit, score=score * hit.weight, rerank_score=score) for hit, score in zip(hits, scores, strict=False)
    ]
    read.sort(key=lambda hit: -hit.score)
    return [*read, *hits[len(scores) :]]


def _text_of(hit: Hit) -> str:
    return "\n".join((" > ".join(dict.fromkeys((hit.title, *hit.headings))), hit.text)).strip()
