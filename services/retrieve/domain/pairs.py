"""Words that stand together: neighbouring stems of a query, near each other in a passage.

The unordered window of the sequential dependence model (Metzler, Croft: A Markov Random Field Model for
Term Dependencies, SIGIR 2005), with BM25's saturation, on the candidates alone.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise

WINDOW = 8
SATURATION = 1.2

Pair = tuple[str, str]


def pair_scores(stems: Sequence[str], passages: Sequence[str]) -> list[float]:
    """Return a score for each passage, given as stems between spaces; 0 where no pair stands together."""
    pairs = [pair for pair in dict.fromkeys(pairwise(stems)) if pair[0] != pair[1]]
    if not pairs:
        return [0.0] * len(passages)
    wanted = frozenset(stem for pair in pairs for stem in pair)
    counts = [_counts(pairs, _positions(wanted, words)) for words in passages]
    rarity = [_rarity(sum(count[number] > 0 for count in counts), len(passages)) for number in range(len(pairs))]
    return [sum(map(_saturated, count, rarity)) for count in counts]


def _positions(wanted: frozenset[str], words: str) -> dict[str, list[int]]:
    positions: defaultdict[str, list[int]] = defaultdict(list)
    for position, word in enumerate(words.split()):
        if word in wanted:
            positions[word].append(position)
    return positions


def _counts(pairs: Sequence[Pair], positions: dict[str, list[int]]) -> list[int]:
    return [_together(positions.get(one, ()), positions.get(other, ())) for one, other in pairs]


def _together(ones: Sequence[int], others: Sequence[int]) -> int:
    return sum(any(0 < abs(one - other) < WINDOW for other in others) for one in ones)


def _rarity(having: int, total: int) -> float:
    """BM25's inverse document frequency, among the candidates."""
    return math.log(1 + (total - having + 0.5) / (having + 0.5))


def _saturated(count: int, rarity: float) -> float:
    return rarity * count * (1 + SATURATION) / (count + SATURATION)
