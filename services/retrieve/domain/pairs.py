"""Words that stand together: neighbouring stems of a query that are neighbours in a passage too.

The ordered part of the sequential dependence model (Metzler, Croft: A Markov Random Field Model for Term
Dependencies, SIGIR 2005), with BM25's saturation, on the candidates alone. Its unordered window was measured
too: a little worse, and it costs more.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

SATURATION = 1.2


def pair_scores(stems: Sequence[str], passages: Sequence[str]) -> list[float]:
    """Return a score for each passage, given as stems between spaces; 0 where no pair stands together."""
    pairs = [f" {one}  {other} " for one, other in dict.fromkeys(pairwise(stems)) if one != other]
    # With two spaces between, neighbouring pairs do not share one, and counting in the text finds both.
    texts = [f" {words.replace(' ', '  ')} " for words in passages]
    counts = [[text.count(pair) for pair in pairs] for text in texts]
    rarity = [_rarity(sum(count > 0 for count in having), len(passages)) for having in zip(*counts, strict=True)]
    return [sum(map(_saturated, count, rarity)) for count in counts]


def _rarity(having: int, total: int) -> float:
    """BM25's inverse document frequency, among the candidates."""
    return math.log(1 + (total - having + 0.5) / (having + 0.5))


def _saturated(count: int, rarity: float) -> float:
    return rarity * count * (1 + SATURATION) / (count + SATURATION)
