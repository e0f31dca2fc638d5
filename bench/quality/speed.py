"""How long searches take with each stage on and off: the same questions, the stages in turn."""

import time
from collections.abc import Mapping

from bench.quality.indexed import How, Indexed
from bench.quality.results import Figure
from bench.quality.sets import KnownSet, questions_of, spread
from bench.report import quantile

TOP_K = 8
SEARCHES = 150
WARM = 10
USUAL = "as usual"
STAGES: Mapping[str, How] = {
    USUAL: How(TOP_K),
    "dense leg alone counts": How(TOP_K, tuning={"dense_share": 1.0}),
    "words leg alone counts": How(TOP_K, tuning={"dense_share": 0.0}),
    "one step": How(TOP_K, steps=1),
    "one step, nothing reranked": How(TOP_K, steps=1, tuning={"rerank_off": True}),
    "widened to sections": How(TOP_K, widen=True),
    "30 passages": How(30),
}


async def measure(known: KnownSet, indexed: Indexed) -> list[Figure]:
    """Return p50 and p95 of a stage's searches in milliseconds, and their ratio to the usual ones."""
    measured = await taken(known, indexed, STAGES)
    figures: list[Figure] = []
    for share, label in ((0.5, "p50 ms"), (0.95, "p95 ms")):
        usual = quantile(measured[USUAL], share)
        for stage, milliseconds in measured.items():
            value = quantile(milliseconds, share)
            note = "" if stage == USUAL else f"{value / usual:.2f} times {USUAL}"
            figures.append(Figure(stage, label, value, count=len(milliseconds), note=note))
    return figures


async def taken(known: KnownSet, indexed: Indexed, stages: Mapping[str, How]) -> dict[str, list[float]]:
    """Return the milliseconds of each stage's searches, one client, every question in each stage before the next."""
    questions = [question.text for question in spread(questions_of(known), SEARCHES + WARM).questions]
    milliseconds: dict[str, list[float]] = {stage: [] for stage in stages}
    for number, question in enumerate(questions):
        for stage, how in stages.items():
            started = time.perf_counter()
            await indexed.search(question, how)
            if number >= WARM:
                milliseconds[stage].append((time.perf_counter() - started) * 1000)
    return milliseconds
