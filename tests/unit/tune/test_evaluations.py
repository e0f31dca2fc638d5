"""What counts as a fall, and what may be kept."""

import random

import pytest

from services.tune.domain.evaluations import TELLING, fall_of

QUESTIONS = 60


def scores(value: float) -> dict[str, dict[str, float]]:
    return {TELLING: {str(number): value for number in range(QUESTIONS)}}


def noisy(seed: int, level: float = 0.5) -> dict[str, dict[str, float]]:
    chance = random.Random(seed)
    return {TELLING: {str(number): min(1.0, max(0.0, chance.gauss(level, 0.3))) for number in range(QUESTIONS)}}


def test_the_first_evaluation_fell_against_nothing():
    assert fall_of(scores(0.1), []) == 0


def test_a_rise_and_no_change_are_no_falls():
    assert fall_of(scores(0.6), [scores(0.5)]) == 0
    assert fall_of(scores(0.5), [scores(0.5)]) == 0


def test_a_fall_against_the_evaluation_before_is_as_large_as_it_is():
    assert fall_of(scores(0.3), [scores(0.5)]) == pytest.approx(-0.2)


def test_a_decline_in_small_steps_is_seen_against_the_best():
    assert fall_of(scores(0.495), [scores(0.5)]) == 0
    assert fall_of(scores(0.48), [scores(0.485), scores(0.49), scores(0.5)]) == pytest.approx(-0.02)


def test_a_new_normal_falls_no_more_once_the_better_is_forgotten():
    assert fall_of(scores(0.3), [scores(0.3)] * 30) == 0


def test_chance_alone_is_seldom_a_fall():
    falls = sum(fall_of(noisy(seed), [noisy(seed + 1000)]) < 0 for seed in range(40))
    assert falls <= 2


def test_one_question_that_fell_says_nothing():
    after = scores(1.0)
    after[TELLING]["0"] = 0.0
    assert fall_of(after, [scores(1.0)]) == 0


def test_questions_that_only_one_has_are_left_out():
    more = scores(0.5)
    more[TELLING]["new"] = 0.0
    assert fall_of(more, [scores(0.5)]) == 0
