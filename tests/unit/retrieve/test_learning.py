"""A dense share is learnt where it ranks better beyond doubt, and only there."""

import random

import pytest

from services.retrieve.domain.fusion import Legs
from services.retrieve.domain.learning import (
    MIN_USED,
    InvalidJudgements,
    Judged,
    check_judgements,
    learn_share,
)

CHANCE = random.Random(4)


def judged(good_leg, count=40, right="0", share=0.6):
    """Questions where one leg ranks the right document first, and the other guesses."""
    questions = []
    for _ in range(count):
        guess = [CHANCE.random() for _ in range(20)]
        sure = [1.0] + [CHANCE.random() * 0.9 for _ in range(19)]
        legs = Legs(sure, guess) if good_leg == "dense" else Legs(guess, sure)
        questions.append(Judged(legs, [str(number) for number in range(20)], {right}, share))
    return questions


def test_the_leg_that_is_right_gets_the_share():
    assert learn_share(judged("words")).dense_share <= 0.3
    assert learn_share(judged("dense", share=0.1)).dense_share >= 0.7


def test_what_is_learnt_says_what_it_is_worth():
    learnt = learn_share(judged("words"))
    assert learnt.used == 40
    assert learnt.learnt_quality > learnt.quality > 0


def test_too_few_questions_teach_nothing():
    assert learn_share(judged("words", MIN_USED - 1)).dense_share is None


def test_where_no_share_is_better_none_is_learnt():
    assert learn_share(judged("dense", share=0.9)).dense_share is None
    both = [Judged(Legs([1.0, 0.5], [1.0, 0.5]), ["a", "b"], {"a"}, 0.6)] * 50
    assert learn_share(both).dense_share is None


def test_questions_without_a_right_candidate_are_left_out():
    assert learn_share(judged("words", right="none")) == learn_share([])
    assert learn_share([]).used == 0


@pytest.mark.parametrize("judgements", [[], [("q", set())], [("q", {"d"})] * 201, [("q", set(map(str, range(101))))]])
def test_judgements_that_tell_nothing_are_refused(judgements):
    with pytest.raises(InvalidJudgements):
        check_judgements(judgements)
