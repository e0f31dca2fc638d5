"""What a reranker is worth that the platform trains from the set's own training questions, and what it costs."""

import asyncio
from typing import Any

from bench.platform import tandem
from bench.quality import speed
from bench.quality.indexed import How, Indexed
from bench.quality.results import Figure, compared, figure
from bench.quality.search import DEEP, scored
from bench.quality.sets import NDCG, KnownSet, questions_of
from bench.report import quantile

AT_LEAST = 0.72
TRAINING_SECONDS = 5400.0
OFF = {"rerank_off": True}
ON_AND_OFF = {"reranked": How(speed.TOP_K), "nothing reranked": How(speed.TOP_K, tuning=OFF)}


async def measure(known: KnownSet, indexed: Indexed) -> list[Figure]:
    """Train on the training questions, and search for the test questions with the reranker and without."""
    questions = questions_of(known)
    home = indexed.platform.home
    # Whatever its gate says: what it is worth is measured here.
    train = ("tune", "reranker", "--set", str(known.folder), "--split", "train", "--duplicates", "keep", "--override")
    run = (await asyncio.to_thread(tandem, home, *train, seconds=TRAINING_SECONDS))["run"]
    try:
        without = (await scored(indexed, questions, How(DEEP, tuning=OFF)))[NDCG]
        with_ = (await scored(indexed, questions, How(DEEP)))[NDCG]
        milliseconds = await speed.taken(known, indexed, ON_AND_OFF)
    finally:
        # The next part searches as if it had never been.
        await asyncio.to_thread(tandem, home, "tune", "rollback")
    return [
        *figure("trained reranker", NDCG, with_, at_least=AT_LEAST, note=_verdict(run["report"])),
        *figure("nothing reranked", NDCG, without),
        *compared("trained reranker against nothing reranked", NDCG, without, with_),
        *(
            Figure(name, f"{label} ms", quantile(values, share), count=len(values))
            for name, values in milliseconds.items()
            for label, share in (("p50", 0.5), ("p95", 0.95))
        ),
    ]


def _verdict(report: dict[str, Any]) -> str:
    passed = "passed" if report.get("passed") else "did not pass"
    low, high = report.get("difference_low", 0.0), report.get("difference_high", 0.0)
    return f"{passed} its gate: {low:+.3f} to {high:+.3f} on {report.get('held_out_queries', 0)} questions held out"
