"""The sequential test: it may be looked at after every rating, and is seldom wrong all the same."""

import random

import pytest

from services.tune.domain.sequential import Tally, difference, p_value

ALPHA = 0.05


def test_nothing_is_known_of_nothing():
    found = difference(Tally(0, 0), Tally(0, 0), ALPHA)
    assert (found.value, found.low, found.high) == (0.0, -1.0, 1.0)
    assert p_value(Tally(0, 0), Tally(0, 0), 0.0) == 1.0


def test_the_interval_holds_what_was_seen_and_narrows():
    few, many = (difference(Tally(8 * n, 10 * n), Tally(5 * n, 10 * n), ALPHA) for n in (1, 100))
    for found in (few, many):
        assert found.value == pytest.approx(0.3)
        assert found.low < 0.3 < found.high
    assert few.low < 0 < many.low
    assert many.high - many.low < few.high - few.low


def test_arms_are_treated_alike():
    one, other = difference(Tally(8, 20), Tally(30, 50), ALPHA), difference(Tally(30, 50), Tally(8, 20), ALPHA)
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low))
    # What is good is what is not bad.
    bad = difference(Tally(12, 20), Tally(20, 50), ALPHA)
    assert (bad.low, bad.high) == pytest.approx((-one.high, -one.low))


@pytest.mark.parametrize("gap", [-0.2, 0.0, 0.1])
@pytest.mark.parametrize("new", [Tally(0, 30), Tally(15, 30), Tally(30, 30), Tally(1, 1)])
def test_the_p_value_and_the_interval_say_the_same(new, gap):
    old = Tally(20, 100)
    assert (p_value(new, old, gap) < ALPHA) == (difference(new, old, ALPHA).low > gap)


def test_a_canary_that_always_fails_is_known_after_a_few_answers():
    assert difference(Tally(6, 6), Tally(0, 60), ALPHA).low > 0.2
    assert difference(Tally(1, 6), Tally(0, 60), ALPHA).low < 0


def looked_at_always(draw, new_rate, old_rate, share, most):
    """Return after how many ratings the interval first excludes 0, and on which side; (0, "") if it never does.

    It is looked at after each rating that moves the difference away from 0.
    """
    counts = {True: [0, 0], False: [0, 0]}
    for number in range(1, most + 1):
        is_new = draw.random() < share
        up = draw.random() < (new_rate if is_new else old_rate)
        counts[is_new][0] += up
        counts[is_new][1] += 1
        new, old = Tally(*counts[True]), Tally(*counts[False])
        if new.rate > old.rate and p_value(new, old, 0.0) < ALPHA:
            return number, "new"
        if new.rate < old.rate and p_value(old, new, 0.0) < ALPHA:
            return number, "old"
    return 0, ""


@pytest.mark.parametrize(("rate", "share"), [(0.5, 0.5), (0.8, 0.1), (0.95, 0.3)])
def test_equal_arms_are_seldom_told_apart_though_every_rating_is_looked_at(rate, share):
    draw = random.Random(5)
    ends = [looked_at_always(draw, rate, rate, share, most=500)[1] for _ in range(200)]
    # Both sides together: what is promised of the two.
    assert len(list(filter(None, ends))) <= ALPHA * 200


def test_a_clear_difference_is_found():
    draw = random.Random(7)
    ends = [looked_at_always(draw, 0.85, 0.55, 0.5, most=600) for _ in range(20)]
    assert [side for _, side in ends] == ["new"] * 20
    worse = [looked_at_always(draw, 0.4, 0.75, 0.3, most=600) for _ in range(20)]
    assert [side for _, side in worse] == ["old"] * 20
