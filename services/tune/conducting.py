"""What a reranker run does: gathers, has a process train, measures against what is live, and publishes."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from services.common.identity import Identity
from services.common.rerankers import CARD, Rerankers
from services.tune.domain.data import Mined, Question, Split, digest_of, merged, pairs_of, split
from services.tune.domain.gate import Contest, judged
from services.tune.domain.runs import GateReport, Lineage, LiveReranker, Order, Origin, Reranker, Run, Stage
from services.tune.ports import Learnt, Lesson, LiveTuning, PassageSearch, RatedAnswers, Trainer

# As many as searches rerank by default.
DEPTH = 30
SEARCHES_AT_ONCE = 4

Tell = Callable[[str, float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Sources:
    """Whom a run asks."""

    search: PassageSearch
    ratings: RatedAnswers
    tuning: LiveTuning


@dataclass(frozen=True, slots=True)
class _Gathered:
    split: Split
    live: LiveReranker
    orders: Sequence[Sequence[str]]  # of the questions held out, as searches give them now

    @property
    def mined(self) -> tuple[Mined, ...]:
        return (*self.split.trained, *self.split.tuned, *self.split.held_out)


class Conductor:
    """Conducts one run at a time from its beginning to a reranker."""

    def __init__(self, sources: Sources, trainer: Trainer, rerankers: Rerankers, now: Callable[[], datetime]) -> None:
        self._sources = sources
        self._trainer = trainer
        self._rerankers = rerankers
        self._now = now

    async def conduct(self, run: Run, order: Order, folder: Path, told: Tell) -> Reranker:
        """Return what the run makes, published; `told` hears how far it is.

        Raises:
            ServiceError: it makes nothing, and why.
        """
        gathered = await self._gather(order, told)
        parts = gathered.split
        pairs = await asyncio.to_thread(pairs_of, parts.trained, order.seed)
        scored = [_scored(each) for each in (*parts.tuned, *parts.held_out)]
        learnt = await self._trainer.train(Lesson(order.base, order.seed, pairs, scored), folder, told)
        report = await asyncio.to_thread(_report, gathered, learnt, len(pairs))
        await told(Stage.PUBLISHING, 0.0)
        await asyncio.to_thread(_write_card, learnt.folder, run, report)
        digest = await self._rerankers.publish(learnt.folder)
        return Reranker(digest, run.run_id, run.base, report, _lineage(gathered.mined), self._now())

    async def discard(self, reranker: Reranker) -> None:
        """Remove what a run made that nobody wants any more."""
        await self._rerankers.remove(reranker.digest)

    async def _gather(self, order: Order, told: Tell) -> _Gathered:
        questions = await self._questions(order)
        live = await self._sources.tuning.get(order.identity)
        mined: list[Mined] = []
        for start in range(0, len(questions), SEARCHES_AT_ONCE):
            mined += await asyncio.gather(
                *(self._mined(order.identity, each) for each in questions[start : start + SEARCHES_AT_ONCE])
            )
            await told(Stage.GATHERING, len(mined) / len(questions))
        parts = split(mined, order.seed)
        return _Gathered(parts, live, [await self._live(order.identity, each) for each in parts.held_out])

    async def _questions(self, order: Order) -> list[Question]:
        if order.origin is Origin.TRAINING_SET:
            return list(order.questions)
        found = self._sources.ratings.questions(order.identity, order.rated_after)
        return [each for each in merged([one async for one in found]) if each.positives]

    async def _mined(self, identity: Identity, question: Question) -> Mined:
        found = await self._sources.search.fused(identity, question.text, DEPTH)
        return Mined(question, found.candidates)

    async def _live(self, identity: Identity, mined: Mined) -> Sequence[str]:
        return (await self._sources.search.live(identity, mined.question.text, DEPTH)).documents


def _scored(mined: Mined) -> tuple[str, list[str]]:
    return mined.question.text, [each.text for each in mined.candidates]


def _report(gathered: _Gathered, learnt: Learnt, pairs: int) -> GateReport:
    parts = gathered.split
    scores = iter(learnt.scores)
    tuned = [Contest(each, next(scores), ()) for each in parts.tuned]
    held_out = [Contest(each, next(scores), live) for each, live in zip(parts.held_out, gathered.orders, strict=True)]
    verdict = judged(tuned, held_out)
    return GateReport(
        passed=verdict.passed,
        trained_queries=len(parts.trained),
        tuned_queries=len(tuned),
        held_out_queries=len(held_out),
        pairs=pairs,
        live_ndcg=verdict.live,
        candidate_ndcg=verdict.candidate,
        difference_low=verdict.low,
        difference_high=verdict.high,
        rerank_weight=verdict.weight,
        depth=DEPTH,
        live_reranker=gathered.live.digest,
        data_digest=digest_of(gathered.mined),
    )


def _lineage(mined: Sequence[Mined]) -> Lineage:
    documents = {found.document_id for each in mined for found in each.candidates}
    people = {name for each in mined for name in each.question.people}
    return Lineage(tuple(sorted(documents)), tuple(sorted(people)))


def _write_card(folder: Path, run: Run, report: GateReport) -> None:
    card = {
        "tenant_id": run.tenant_id,
        "run_id": run.run_id,
        "base": run.base,
        "seed": run.seed,
        "rerank_weight": report.rerank_weight,
        "data_digest": report.data_digest,
    }
    (folder / CARD).write_text(json.dumps(card, sort_keys=True))
