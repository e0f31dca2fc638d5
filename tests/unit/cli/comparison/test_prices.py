"""What a thousand answers cost, by token and by the hour."""

import pytest

from services.cli.comparison.prices import InvalidPrice, prices_of
from services.cli.evaluation.outcomes import Outcome, Reply, Usage
from services.common.evaluation.questions import Question

ANSWER = Outcome(
    Question("q", "?"), reply=Reply("a", usage=Usage(prompt_tokens=2000, completion_tokens=50)), seconds=1.8
)


def test_by_token_a_thousand_answers_cost_what_they_read_and_write():
    prices = prices_of(0.5, 2.0, 0.0, 2)
    assert prices.of_a_thousand(ANSWER) == pytest.approx(2000 * 1000 * 0.5 / 1e6 + 50 * 1000 * 2 / 1e6)
    assert prices.basis.startswith("by token")


def test_by_the_hour_answers_that_are_asked_at_once_share_the_machine():
    assert prices_of(0, 0, 3.6, 1).of_a_thousand(ANSWER) == pytest.approx(1.8)
    assert prices_of(0, 0, 3.6, 2).of_a_thousand(ANSWER) == pytest.approx(0.9)


def test_without_a_price_there_is_no_cost():
    assert prices_of(0, 0, 0, 2) is None


@pytest.mark.parametrize("given", [(-1, 0, 0), (0, float("nan"), 0), (0, 0, float("inf")), (1, 0, 1)])
def test_what_is_no_price_and_two_bills_for_one_thing_are_refused(given):
    with pytest.raises(InvalidPrice):
        prices_of(*given, 2)
