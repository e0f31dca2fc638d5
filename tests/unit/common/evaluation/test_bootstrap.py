"""Intervals and differences against what theory says of them."""

from math import sqrt

import numpy as np
import pytest

from services.common.evaluation.bootstrap import difference, estimate


def test_the_interval_of_a_mean_is_near_the_normal_one():
    values = np.random.default_rng(1).normal(0.5, 0.2, 400).tolist()
    found = estimate(values)
    half = 1.96 * float(np.std(values)) / sqrt(400)
    assert found.value == pytest.approx(np.mean(values))
    assert found.low == pytest.approx(found.value - half, abs=0.003)
    assert found.high == pytest.approx(found.value + half, abs=0.003)
    assert found.count == 400


def test_the_same_seed_gives_the_same_interval():
    values = np.random.default_rng(4).random(50).tolist()
    assert estimate(values) == estimate(values)
    assert estimate(values, seed=1) != estimate(values, seed=2)


def test_a_ratio_is_of_sums_and_counts_whom_it_says_something_about():
    found = estimate([2, 0, 1], [3, 0, 1])
    assert found.value == pytest.approx(3 / 4)
    assert found.count == 2
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_nothing_to_count_is_no_figure():
    assert estimate([0, 0], [0, 0]) is None
    assert estimate([]) is None
    assert difference(([0], [0]), ([1], [1])) is None


def test_equal_values_have_no_spread():
    found = estimate([1.0] * 10)
    assert (found.low, found.value, found.high) == (1, 1, 1)


def test_the_same_scores_differ_by_nothing_and_are_not_significant():
    found = difference(([0.5, 0.2], None), ([0.5, 0.2], None))
    assert (found.value, found.p_value, found.is_significant) == (0, 1, False)


def test_pairs_show_a_small_gain_that_the_intervals_hide():
    first = np.random.default_rng(2).random(200)
    second = first + 0.02
    found = difference((first.tolist(), None), (second.tolist(), None))
    assert found.value == pytest.approx(0.02)
    assert found.low > 0.019
    assert found.is_significant
    assert estimate(first.tolist()).high > estimate(second.tolist()).low


def test_chance_alone_is_significant_about_once_in_twenty():
    random = np.random.default_rng(3)
    hits = 0
    for seed in range(200):
        first, second = random.random((2, 60))
        hits += difference((first, None), (second, None), rounds=500, seed=seed).is_significant
    assert 2 <= hits <= 20


def test_a_fall_is_negative():
    assert difference(([1.0] * 20, None), ([0.0] * 20, None)).value == -1


def test_a_difference_needs_the_same_questions():
    with pytest.raises(ValueError, match="same questions"):
        difference(([1.0], None), ([1.0, 2.0], None))


def test_more_questions_than_fit_in_memory_at_once_are_drawn_in_parts():
    values = (np.arange(3_000_000) % 2).astype(float)
    assert estimate(values, rounds=3).value == pytest.approx(0.5)
