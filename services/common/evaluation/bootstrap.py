"""How sure a measured figure is: bootstrap intervals, and paired differences with their significance.

Questions are drawn again with replacement (Efron and Tibshirani, An Introduction to the Bootstrap, 1993,
chapters 13 and 16). A figure is a ratio of sums over questions, so that means, pooled precision and F1 are
resampled alike: of a mean every denominator is 1.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ROUNDS = 10_000
SEED = 20_240_401
LEVEL = 0.95
# How many draws are held in memory at once.
_DRAWS_AT_ONCE = 2_000_000

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its 95% interval, over `count` questions that say something about it."""

    value: float
    low: float
    high: float
    count: int


@dataclass(frozen=True, slots=True)
class Difference:
    """How much higher the second of two configurations is, on the same questions; `p_value` is two-sided."""

    value: float
    low: float
    high: float
    p_value: float
    count: int

    @property
    def is_significant(self) -> bool:
        """Return whether chance alone would show this in less than one case of twenty."""
        return self.p_value < 1 - LEVEL


def estimate(
    numerators: Sequence[float],
    denominators: Sequence[float] | None = None,
    *,
    rounds: int = ROUNDS,
    seed: int = SEED,
) -> Estimate | None:
    """Return sum(numerators) / sum(denominators) with its percentile interval; None where nothing can be said."""
    upper, lower = _columns(numerators, denominators)
    value = _ratio(upper.sum(), lower.sum())
    if not np.isfinite(value):
        return None
    low, high = _bounds(_resampled([(upper, lower)], rounds, seed)[0])
    return Estimate(float(value), low, high, int(np.count_nonzero(lower)))


def difference(
    first: tuple[Sequence[float], Sequence[float] | None],
    second: tuple[Sequence[float], Sequence[float] | None],
    *,
    rounds: int = ROUNDS,
    seed: int = SEED,
) -> Difference | None:
    """Return second minus first, each a pair of numerators and denominators of the same questions in the same order.

    The p-value is twice the smaller share of resampled differences on one side of zero, each with one
    counted to it, so that it is never 0.

    Raises:
        ValueError: the two are not of equally many questions.
    """
    pairs = [_columns(*first), _columns(*second)]
    if len(pairs[0][0]) != len(pairs[1][0]):
        raise ValueError("a paired difference needs the same questions on both sides")
    values = [_ratio(upper.sum(), lower.sum()) for upper, lower in pairs]
    if not np.all(np.isfinite(values)):
        return None
    drawn = _resampled(pairs, rounds, seed)
    differences = drawn[1] - drawn[0]
    differences = differences[np.isfinite(differences)]
    tail = min(np.count_nonzero(differences <= 0), np.count_nonzero(differences >= 0))
    p_value = min(1.0, 2 * (int(tail) + 1) / (len(differences) + 1))
    low, high = _bounds(differences)
    return Difference(float(values[1] - values[0]), low, high, p_value, len(pairs[0][0]))


def _columns(numerators: Sequence[float], denominators: Sequence[float] | None) -> tuple[Floats, Floats]:
    upper = np.asarray(numerators, dtype=np.float64)
    lower = np.ones_like(upper) if denominators is None else np.asarray(denominators, dtype=np.float64)
    return upper, lower


def _resampled(pairs: Sequence[tuple[Floats, Floats]], rounds: int, seed: int) -> list[Floats]:
    """Return each pair's ratio in every round; a round draws the same questions for all pairs."""
    ratios: list[list[Floats]] = [[] for _ in pairs]
    for rows in _draws(len(pairs[0][0]), rounds, seed):
        for kept, (upper, lower) in zip(ratios, pairs, strict=True):
            kept.append(_ratio(upper[rows].sum(axis=1), lower[rows].sum(axis=1)))
    return [np.concatenate(each) for each in ratios]


def _draws(count: int, rounds: int, seed: int) -> Iterator[NDArray[np.intp]]:
    random = np.random.default_rng(seed)
    step = max(1, _DRAWS_AT_ONCE // count)
    for start in range(0, rounds, step):
        yield random.integers(0, count, (min(step, rounds - start), count))


def _ratio(upper: Floats, lower: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.divide(upper, lower)


def _bounds(drawn: Floats) -> tuple[float, float]:
    """Return the middle 95% of what was drawn, rounds that can say nothing left out."""
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.percentile(drawn[np.isfinite(drawn)], [tail, 100 - tail])
    return float(low), float(high)
