"""Candidates read again by a cross-encoder, as far as time allows."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

import structlog

from services.common.faults import described
from services.common.rerankers import blended, text_of
from services.retrieve.domain.hits import Hit
from services.retrieve.domain.tuning import Tuning
from services.retrieve.metrics import RERANK, RERANKED, stage
from services.retrieve.ports import Reranker

# Of what is left of the call's deadline; the rest is for what comes after.
DEADLINE_SHARE = 0.5
# What is read at once: large enough for the model, small enough that on a busy machine some are read in time.
BATCH = 5

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Reranked:
    """Hits, best first, of which the first `count` have been read by the reranker."""

    hits: Sequence[Hit]
    count: int


class Reranking:
    """Reranks within a time limit. What was not read in time, or could not be, comes behind in its own order."""

    def __init__(self, reranker: Reranker | None, at_most_seconds: float, *, by_default: bool = True) -> None:
        """`by_default` says whether the deployment has a reranker of its own."""
        self._reranker = reranker
        self._at_most_seconds = at_most_seconds
        self._by_default = by_default

    async def rerank(self, query: str, hits: Sequence[Hit], tuning: Tuning, left_seconds: float | None) -> Reranked:
        """Return `hits`, best first, reranked; `left_seconds` is what the call has left, if it has a limit."""
        if self._reranker is None or tuning.rerank_off or not hits or not (tuning.reranker or self._by_default):
            return Reranked(hits, 0)
        limit = self._at_most_seconds
        if left_seconds is not None:
            limit = min(limit, left_seconds * DEADLINE_SHARE)
        with stage(RERANK):
            scores = await self._scores(self._reranker, query, hits[: tuning.rerank_depth], tuning.reranker, limit)
        return Reranked(reordered(hits, scores, tuning.rerank_weight), len(scores))

    async def _scores(
        self, reranker: Reranker, query: str, hits: Sequence[Hit], digest: str, limit: float
    ) -> list[float]:
        """Return the scores of the first hits, as many as there was time for."""
        scores: list[float] = []
        outcome = "whole"
        try:
            async with asyncio.timeout(limit):
                for start in range(0, len(hits), BATCH):
                    texts = [text_of(hit.title, hit.headings, hit.text) for hit in hits[start : start + BATCH]]
                    scores += map(float, await reranker.scores(digest, query, texts))
        except TimeoutError:
            outcome = "late"
        except Exception as error:  # noqa: BLE001 - a search is answered without it, whatever is wrong with it
            outcome = "failed"
            log.warning("rerank_failed", error=described(error))
        RERANKED.labels(outcome).inc()
        return scores


def reordered(hits: Sequence[Hit], scores: Sequence[float], share: float | None) -> list[Hit]:
    """Return the first hits by their new scores, 0 to 1, and behind them the others in their own order.

    `share` is the reranker's, beside the fused score; None leaves its scores as they are.
    """
    read = hits[: len(scores)]
    blend = scores if share is None else blended([hit.score / hit.weight for hit in read], scores, share)
    new = [
        replace(hit, score=value * hit.weight, rerank_score=score)
        for hit, value, score in zip(read, blend, scores, strict=True)
    ]
    new.sort(key=lambda hit: -hit.score)
    return [*new, *hits[len(scores) :]]
