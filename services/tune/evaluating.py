"""Measures a tenant's searches on its kept sets: what was asked for, and what is due."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog

from services.common.errors import ServiceError, Unavailable
from services.common.evaluation.measures import retrieval_scores
from services.common.evaluation.questions import Question
from services.common.evaluation.results import figures, parts_of
from services.tune.adapters.evaluations import PostgresEvaluations
from services.tune.domain.evaluations import (
    PASSAGES,
    Claimed,
    Evaluation,
    K,
    Scores,
    fall_of,
    questions_of,
    searched_in,
)
from services.tune.evaluation_metrics import EVALUATION_FALLS, EVALUATION_SCORE, EVALUATIONS
from services.tune.ports import DocumentSearch

LOOK_SECONDS = 2.0
OBSERVE_SECONDS = 15.0
# After so many questions it is said how far an evaluation is, and looked whether it was ended.
BEAT_QUESTIONS = 10

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Clock:
    """What time it is, and what is called new."""

    now: Callable[[], datetime]
    new_id: Callable[[], str]


class Evaluator:
    """Takes evaluations from the store, one at a time; several replicas share the work."""

    def __init__(self, store: PostgresEvaluations, search: DocumentSearch, clock: Clock, seconds: float) -> None:
        self._store = store
        self._search = search
        self._clock = clock
        self._seconds = seconds
        self._waiting = asyncio.Event()

    def wake(self) -> None:
        """Tell that an evaluation waits."""
        self._waiting.set()

    async def run(self) -> None:
        """Work for ever."""
        while True:
            self._waiting.clear()
            try:
                await self.work()
            except Unavailable as error:
                log.warning("evaluations_wait", reason=error.reason)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._waiting.wait()

    async def work(self) -> None:
        """Queue what is due, and evaluate until nothing waits."""
        await self._store.queue_due(self._clock.new_id, self._clock.now())
        while claimed := await self._store.claim(self._clock.now()):
            failure = await self._evaluated(claimed)
            if failure:
                await self._store.fail(claimed.evaluation, failure, self._clock.now())
            log.info("evaluation_ends", evaluation_id=claimed.evaluation.evaluation_id, failure=failure)

    async def _evaluated(self, claimed: Claimed) -> str:
        """Evaluate a set; return why there are no figures, or "" ."""
        try:
            async with asyncio.timeout(self._seconds):
                scores = await self._searched(claimed)
        except TimeoutError:
            return "EVALUATION_TOO_LONG"
        except ServiceError as error:
            return error.reason
        except Exception:
            # One set's fault must not end the service.
            log.exception("evaluation_fails", evaluation_id=claimed.evaluation.evaluation_id)
            return "INTERNAL"
        if scores:
            await self._keep(claimed.evaluation, scores)
        return ""

    async def _searched(self, claimed: Claimed) -> Scores | None:
        """Search for every question as whom the evaluation is for; None where it was ended meanwhile."""
        asked = searched_in(questions_of(claimed.evaluation.set_name, claimed.content))
        found: dict[str, tuple[str, ...]] = {}
        for number, question in enumerate(asked):
            if number % BEAT_QUESTIONS == 0 and not await self._beats(claimed.evaluation, number):
                return None
            found[question.id] = await self._search.documents(claimed.identity, question.text, PASSAGES)
        return await asyncio.to_thread(_scores, asked, found)

    async def _beats(self, evaluation: Evaluation, searched: int) -> bool:
        return await self._store.beat(evaluation, searched, self._clock.now())

    async def _keep(self, evaluation: Evaluation, scores: Scores) -> None:
        earlier = await self._store.earlier(evaluation)
        fall = await asyncio.to_thread(fall_of, scores, earlier)
        found = await asyncio.to_thread(figures, parts_of({name: dict(values) for name, values in scores.items()}))
        if not await self._store.finish(evaluation, scores, found, fall, self._clock.now()):
            return
        EVALUATIONS.labels("fell" if fall else "held").inc()
        if fall and evaluation.scheduled:
            EVALUATION_FALLS.labels(evaluation.tenant_id, evaluation.set_name).inc()


def _scores(asked: Sequence[Question], found: dict[str, tuple[str, ...]]) -> Scores:
    return retrieval_scores({question.id: question.documents for question in asked}, found, K)


async def observe(store: PostgresEvaluations) -> None:
    """Keep the scores of sets that have a schedule as the database has them, for ever."""
    shown: frozenset[tuple[str, str]] = frozenset()
    while True:
        with contextlib.suppress(Unavailable):
            shown = show(await store.newest_scheduled(), shown)
        await asyncio.sleep(OBSERVE_SECONDS)


def show(newest: Sequence[Evaluation], before: frozenset[tuple[str, str]]) -> frozenset[tuple[str, str]]:
    """Set the gauges, forget the sets of `before` that have no schedule any more, and return those that have."""
    for evaluation in newest:
        # A series that begins with a fall shows no rise: it begins with the first figures.
        EVALUATION_FALLS.labels(evaluation.tenant_id, evaluation.set_name)
        for measure, figure in evaluation.figures.items():
            EVALUATION_SCORE.labels(evaluation.tenant_id, evaluation.set_name, measure).set(figure.value)
    now = frozenset((evaluation.tenant_id, evaluation.set_name) for evaluation in newest)
    for tenant_id, name in before - now:
        EVALUATION_SCORE.remove_by_labels({"tenant": tenant_id, "set": name})
        EVALUATION_FALLS.remove(tenant_id, name)
    return now
