"""The gate: a weight chosen on some questions, and a difference on others that chance would not show."""

import random

import pytest

from services.tune.domain.data import Candidate, Mined, Positive, Question
from services.tune.domain.gate import Contest, chosen_weight, judged

PASSAGES = 10


def contest(number: int, right: int, scores: list[float]) -> Contest:
    """A question whose fused order is 0, 1, 2, … and whose answer is in document `right`."""
    found = tuple(Candidate(f"c{place}", f"d{place}", "", 1.0 - place / 10) for place in range(PASSAGES))
    mined = Mined(Question(f"q{number}", (Positive(f"d{right}"),)), found)
    return Contest(mined, scores, [each.document_id for each in found])


def knowing(right: int) -> list[float]:
    return [float(place == right) for place in range(PASSAGES)]


def test_one_that_knows_passes():
    verdict = judged(
        [contest(number, 3, knowing(3)) for number in range(10)],
        [contest(number, 3, knowing(3)) for number in range(30)],
    )
    assert verdict.passed
    assert (verdict.candidate, verdict.weight) == (1.0, 0.3)
    assert verdict.live == pytest.approx(0.4307, abs=1e-4)
    assert verdict.low == pytest.approx(verdict.high)


def test_one_that_ranks_as_before_does_not_pass():
    same = [1.0 - place / 10 for place in range(PASSAGES)]
    some = [contest(number, number % 5, same) for number in range(30)]
    verdict = judged(some, some)
    assert not verdict.passed
    assert verdict.candidate == verdict.live
    assert (verdict.low, verdict.high) == (0.0, 0.0)


def test_one_that_guesses_does_not_pass_however_lucky_its_mean():
    source = random.Random(5)
    some = [
        contest(number, source.randrange(PASSAGES), [source.random() for _ in range(PASSAGES)]) for number in range(24)
    ]
    verdict = judged(some[:8], some[8:])
    assert not verdict.passed
    assert verdict.low <= 0


def test_one_that_is_worse_gets_the_least_weight_and_does_not_pass():
    wrong = [contest(number, 0, knowing(9)) for number in range(20)]
    verdict = judged(wrong, wrong)
    assert (verdict.weight, verdict.passed) == (0.1, False)


def test_the_weight_is_chosen_where_it_is_not_measured():
    tuned = [contest(number, 1, knowing(1)) for number in range(10)]
    held_out = [contest(number, 1, knowing(9)) for number in range(10)]
    assert chosen_weight(tuned) == 0.2
    assert judged(tuned, held_out).weight == 0.2


def test_what_a_live_reranker_does_is_what_has_to_be_beaten():
    some = [contest(number, 3, knowing(3)) for number in range(20)]
    beaten = [Contest(each.mined, each.scores, ["d3", "d0"]) for each in some]
    assert not judged(some, beaten).passed
