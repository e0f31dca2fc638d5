"""What two arms' counts say of the difference of their rates, however often somebody looks.

The interval is a confidence sequence: with probability 1 - alpha it holds the true difference at every
moment at once, so that stopping when it excludes a value is no peeking. For an arm with s of n and the
rate p, the beta-binomial mixture martingale

    M(p) = B(s + 1/2, n - s + 1/2) / B(1/2, 1/2) / (p^s (1 - p)^(n - s))

begins at 1 and stays 1 in the mean, so that it ever reaches 1 / alpha with a probability of alpha at
most (Ville; Robbins 1970, "Statistical methods related to the law of the iterated logarithm"; Howard,
Ramdas, McAuliffe & Sekhon 2021, "Time-uniform, nonparametric, nonasymptotic confidence sequences",
Annals of Statistics 49). So does the product of two arms'. The differences p_new - p_old of all pairs of
rates whose product is below 1 / alpha are the sequence. No approximation is in it: it holds for five
ratings as for five million, whatever share of them each arm got and why.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

_STEPS = 40
_TINY = 1e-12


@dataclass(frozen=True, slots=True)
class Tally:
    """Of `trials`, so many were `hits`; `rate` is 0 where nothing was tried."""

    hits: int
    trials: int

    @property
    def rate(self) -> float:
        return self.hits / self.trials if self.trials else 0.0


@dataclass(frozen=True, slots=True)
class Difference:
    """The new arm's rate less the old one's, -1 to 1, and the interval that holds at every moment."""

    value: float
    low: float
    high: float


def difference(new: Tally, old: Tally, alpha: float) -> Difference:
    """Return the difference of two rates with its confidence sequence of level 1 - `alpha`."""
    value = new.rate - old.rate
    room = math.log(1 / alpha) - _log_mixture(new) - _log_mixture(old)

    def is_possible(gap: float) -> bool:
        return _least_loss(new, old, gap) < room

    # Both losses are convex, so what is possible is an interval; the rates seen are in it.
    low = _edge(is_possible, value, -1.0)
    return Difference(value, low, _edge(is_possible, value, 1.0))


def p_value(new: Tally, old: Tally, gap: float) -> float:
    """Return the always-valid p-value of a difference of at most `gap`, 1 where the counts do not speak against it."""
    if new.rate - old.rate <= gap:
        return 1.0
    evidence = _log_mixture(new) + _log_mixture(old) + _least_loss(new, old, gap)
    return min(1.0, math.exp(-evidence))


def _log_mixture(arm: Tally) -> float:
    """Return the logarithm of the counts' probability under Jeffreys' prior of the rate."""
    hits, misses = arm.hits + 0.5, arm.trials - arm.hits + 0.5
    return math.lgamma(hits) + math.lgamma(misses) - math.lgamma(hits + misses) - math.log(math.pi)


def _loss(arm: Tally, rate: float) -> float:
    """Return the negative logarithm of the counts' likelihood."""
    rate = min(max(rate, _TINY), 1 - _TINY)
    return -arm.hits * math.log(rate) - (arm.trials - arm.hits) * math.log1p(-rate)


def _least_loss(new: Tally, old: Tally, gap: float) -> float:
    """Return the least loss of both arms together where the rates differ by `gap`."""
    low, high = max(0.0, -gap), min(1.0, 1.0 - gap)

    def loss(rate: float) -> float:
        return _loss(new, rate + gap) + _loss(old, rate)

    if gap == 0:
        # Both have one rate, and the likeliest is that of all trials.
        return loss(Tally(new.hits + old.hits, new.trials + old.trials).rate)
    for _ in range(_STEPS):
        third = (high - low) / 3
        if loss(low + third) < loss(high - third):
            high -= third
        else:
            low += third
    return loss((low + high) / 2)


def _edge(is_possible: Callable[[float], bool], inside: float, outside: float) -> float:
    """Return where the possible ends between a gap that is, and the last one that there is."""
    if is_possible(outside):
        return outside
    for _ in range(_STEPS):
        middle = (inside + outside) / 2
        if is_possible(middle):
            inside = middle
        else:
            outside = middle
    # The far side, so that nothing possible is left out.
    return outside
