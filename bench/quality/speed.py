"""How long searches take with each stage on and off: the same questions, the stages in turn."""

import asyncio
import time
import urllib.request
from collections.abc import Mapping

from prometheus_client.parser import text_string_to_metric_families

from bench.quality.indexed import How, Indexed
from bench.quality.results import Figure
from bench.quality.sets import KnownSet, questions_of, spread
from bench.report import quantile

TOP_K = 8
SEARCHES = 150
WARM = 10
STAGE_METRIC = "tandem_retrieve_stage_duration_seconds"
METRICS_SECONDS = 10.0
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
    return figures + await _within(known, indexed)


async def _within(known: KnownSet, indexed: Indexed) -> list[Figure]:
    """Return the mean milliseconds of each stage of usual searches, as retrieve's own metrics have them."""
    before = await asyncio.to_thread(_stages, indexed)
    await taken(known, indexed, {USUAL: STAGES[USUAL]})
    after = await asyncio.to_thread(_stages, indexed)
    figures = []
    for stage, (seconds, count) in after.items():
        seconds_before, count_before = before.get(stage, (0.0, 0.0))
        if searches := count - count_before:
            mean = (seconds - seconds_before) / searches * 1000
            figures.append(Figure(f"stage: {stage}", "mean ms", mean, count=int(searches), note="some go side by side"))
    return figures


def _stages(indexed: Indexed) -> dict[str, tuple[float, float]]:
    """Return each stage's seconds and how often it was, since the start."""
    address = indexed.platform.metrics["retrieve"]
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=METRICS_SECONDS) as answer:
        families = text_string_to_metric_families(answer.read().decode())
    sums: dict[str, dict[str, float]] = {"_sum": {}, "_count": {}}
    for sample in (sample for family in families if family.name == STAGE_METRIC for sample in family.samples):
        for suffix, values in sums.items():
            if sample.name == STAGE_METRIC + suffix:
                values[sample.labels["stage"]] = sample.value
    return {stage: (seconds, sums["_count"][stage]) for stage, seconds in sums["_sum"].items()}


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
