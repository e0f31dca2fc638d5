"""Words that stand together: neighbouring stems of a query that are neighbours in a passage too.

The ordered part of the sequential dependence model (Metzler, Croft: A Markov Random Field Model for Term
Dependencies, SIGIR 2005), with BM25's saturation, on the candidates alone. Its unordered window was measured
too: a little worse, and it costs more.
"""

import math
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

SATURATION = 1.2

Pair = tuple[str, str]


def pair_scores(stems: Sequence[str], passages: Sequence[Sequence[str]]) -> list[float]:
    """Return a score for each passage, given as its stems; 0 where no pair stands together."""
    pairs = [pair for pair in dict.fromkeys(pairwise(stems)) if pair[0] != pair[1]]
    if not pairs:
        return [0.0] * len(passages)
    wanted = frozenset(pairs)
    counts = [Counter(pair for pair in pairwise(words) if pair in wanted) for words in passages]
    rarity = {pair: _rarity(sum(pair in count for count in counts), len(passages)) for pair in pairs}
    return [sum(_saturated(times, rarity[pair]) for pair, times in count.items()) for count in counts]


def _rarity(having: int, total: int) -> float:
    """BM25's inverse document frequency, among the candidates."""
    return math.log(1 + (total - having + 0.5) / (having + 0.5))


def _saturated(count: int, rarity: float) -> float:
    return rarity * count * (1 + SATURATION) / (count + SATURATION)
