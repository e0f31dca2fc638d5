"""What cutting by structure is worth beside plain windows of tokens, on the same questions."""

from bench.quality.indexed import How, Indexed
from bench.quality.results import Figure, Parts, compared, figure
from bench.quality.search import DEEP, scored
from bench.quality.sets import NDCG, KnownSet, questions_of

BY_KIND = ""
FIXED = "fixed"
STRATEGIES = {"by kind": BY_KIND, "every so many tokens": FIXED}


async def parts_of(known: KnownSet, indexed: Indexed) -> Parts:
    """Return each question's nDCG@10 on a platform that cut the documents in one way."""
    return (await scored(indexed, questions_of(known), How(DEEP)))[NDCG]


def figures_of(measured: dict[str, tuple[Parts, int]]) -> list[Figure]:
    """Return the figures of every way of cutting, given its parts and how many chunks it made, and the difference."""
    figures: list[Figure] = []
    for name, (parts, chunks) in measured.items():
        figures += figure(name, NDCG, parts, note=f"{chunks} chunks")
    (first, (by_kind, _)), (second, (fixed, _)) = measured.items()
    return figures + compared(f"{first} against {second}", NDCG, fixed, by_kind)
