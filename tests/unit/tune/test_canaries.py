"""The rule of a canary: what ends it, which way, and what it never does."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from services.tune.domain.canaries import Arm, Arms, Decision, Rule, checked_rule, checked_share, look_at, person_of
from services.tune.domain.registry_errors import InvalidCanary

BEGUN = datetime(2026, 11, 30, tzinfo=UTC)
GOOD = Arm(conversations=100, answers=120, ups=55, downs=5, raters=30)
MIDDLING = Arm(conversations=100, answers=120, ups=30, downs=30, raters=30)


def decided(canary, old, rule=Rule(), days=1.0):  # noqa: B008 - a value that never changes
    look = look_at(rule, Arms(canary, old), BEGUN, BEGUN + timedelta(days=days))
    return look.decision, look.reason


def test_a_better_canary_is_promoted():
    decision, reason = decided(GOOD, MIDDLING)
    assert decision is Decision.PROMOTE
    assert "at least" in reason


def test_a_worse_canary_is_rolled_back():
    assert decided(MIDDLING, GOOD)[0] is Decision.ROLLBACK


def test_a_canary_like_the_old_one_goes_on():
    assert decided(MIDDLING, MIDDLING)[0] is Decision.CONTINUE
    assert decided(Arm(), Arm())[0] is Decision.CONTINUE


def test_few_raters_do_not_promote_however_sure_they_are():
    decision, reason = decided(replace(GOOD, raters=2), MIDDLING)
    assert (decision, reason) == (Decision.CONTINUE, "better, but only 2 of 3 raters say so")


def test_failures_roll_back_whatever_the_ratings_say():
    decision, reason = decided(replace(GOOD, failures=40), MIDDLING)
    assert decision is Decision.ROLLBACK
    assert "fail" in reason
    # One is no reason, and failures of both are none of the canary.
    assert decided(replace(MIDDLING, failures=1), MIDDLING)[0] is Decision.CONTINUE
    assert decided(replace(MIDDLING, failures=40), replace(MIDDLING, failures=40))[0] is Decision.CONTINUE


def test_a_margin_asks_for_more_or_allows_a_little_less():
    better = Arm(conversations=900, answers=900, ups=640, downs=260, raters=99)
    assert decided(better, replace(better, ups=500, downs=400))[0] is Decision.PROMOTE
    assert decided(better, replace(better, ups=500, downs=400), Rule(margin=0.1))[0] is Decision.CONTINUE
    assert decided(better, better, Rule(margin=-0.15))[0] is Decision.PROMOTE


def test_what_is_not_found_better_in_time_stays_out():
    assert decided(MIDDLING, MIDDLING, Rule(max_conversations=200))[0] is Decision.KEEP_OLD
    assert decided(MIDDLING, MIDDLING, days=14)[0] is Decision.KEEP_OLD
    # Who is found better on the last day is promoted.
    assert decided(GOOD, MIDDLING, days=14)[0] is Decision.PROMOTE


@pytest.mark.parametrize(
    "broken",
    [
        {"alpha": 0.5},
        {"alpha": float("nan")},
        {"margin": -0.6},
        {"max_error_rise": 1.5},
        {"max_ratings_per_rater": 0},
        {"min_raters": -1},
        {"max_conversations": 9},
        {"max_days": 366},
        {"late_ms": 0},
    ],
)
def test_a_rule_out_of_bounds_is_refused(broken):
    with pytest.raises(InvalidCanary):
        checked_rule(replace(Rule(), **broken))


@pytest.mark.parametrize("share", [0.001, 0.6, -0.1, float("nan"), float("inf")])
def test_a_share_out_of_bounds_is_refused(share):
    with pytest.raises(InvalidCanary):
        checked_share(share)


def test_the_default_share_is_a_tenth():
    assert (checked_share(0), checked_share(0.5)) == (0.1, 0.5)


def test_people_are_told_apart_without_their_names():
    assert person_of("acme", "user:ada") != person_of("rival", "user:ada")
    assert person_of("acme", "") == ""
