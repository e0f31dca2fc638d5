"""Figures against rules, and what is said of what was not measured."""

import pytest

from services.tune.domain.gate_rules import Rules
from services.tune.gate.measuring import Item, figures_of
from services.tune.gate.verdict import PROOF, judged, passed

KNOWN = {"measure": "golden F1", "kind": "not_worse", "bound": 0.05}


def items(live, candidate, measure="golden F1", group=lambda _: ""):
    pairs = enumerate(zip(live, candidate, strict=True))
    return [
        Item("golden", str(number), {measure: (one, 1.0)}, {measure: (other, 1.0)}, group(number))
        for number, (one, other) in pairs
    ]


def results(found, proof=(), **rule):
    return judged(Rules.model_validate({"rules": [KNOWN | rule], "proof": proof}), figures_of(found))


def result(found, **rule):
    return results(found, **rule)[0]


ALTERNATING = [float(number % 2) for number in range(60)]


def test_the_same_on_both_sides_is_not_worse_and_not_better():
    same = items(ALTERNATING, ALTERNATING)
    assert result(same, bound=0).passed
    assert not result(same, kind="better", bound=0).passed
    assert (result(same).value, result(same).low, result(same).high) == (0, 0, 0)


def test_better_is_what_chance_does_not_show():
    risen = items([0.0] * 60, [1.0] * 30 + [0.0] * 30)
    lucky = items([0.0] * 60, [1.0] * 2 + [0.0] * 58)
    assert result(risen, kind="better", bound=0).passed
    assert not result(lucky, kind="better", bound=0).passed
    assert result(lucky, kind="better", bound=0, on="value").passed


def test_not_worse_holds_the_lower_end_against_the_bound():
    fallen = items([1.0] * 100, [1.0] * 97 + [0.0] * 3)
    held = result(fallen)
    assert (held.value, held.passed) == (pytest.approx(-0.03), False)
    assert held.low < -0.05
    assert result(fallen, on="value").passed
    assert result(fallen, bound=0.1).passed


def test_a_fall_of_just_the_bound_holds():
    assert result(items([1.0] * 20, [1.0] * 19 + [0.0]), on="value").passed


@pytest.mark.parametrize(("kind", "bound", "holds"), [("at_least", 0.3, True), ("at_least", 0.5, False)])
def test_a_candidates_own_figure_may_be_held_whatever_is_live(kind, bound, holds):
    assert result(items([1.0] * 60, ALTERNATING), kind=kind, bound=bound).passed is holds


def test_a_ratio_is_held_on_its_upper_end():
    timed = [Item("latency", str(n), {}, {"token ratio": (1.0 + n % 3, 1.0)}) for n in range(30)]
    rule = {"measure": "token ratio", "kind": "at_most"}
    assert result(timed, **rule, bound=2.5).passed
    held = result(timed, **rule, bound=2.1)
    assert (held.value, held.passed) == (2.0, False)
    assert held.high > 2.1


def test_what_was_not_measured_is_said_and_fails_only_where_the_rule_says_so():
    skipped, failed = result([]), result([], missing="fail")
    assert (skipped.passed, failed.passed) == (True, False)
    assert "not measured: there is nothing" in skipped.detail


def test_a_rule_may_let_nothing_pass_and_too_little_fail():
    few = items([0.0] * 19, [1.0] * 19)
    assert result([], missing="fail_if_few").passed
    assert not result(few, missing="fail_if_few").passed
    assert result(few, missing="skip").passed


def test_few_items_are_as_good_as_none():
    few = items([0.0] * 19, [1.0] * 19)
    held = result(few, kind="better", missing="fail")
    assert not held.passed
    assert "19 items where the rule asks for 20" in held.detail


def test_few_raters_are_few_however_much_they_rate():
    risen = items([0.0] * 60, [1.0] * 60, group=lambda number: f"rater {number % 4}")
    figure = figures_of(risen)["golden F1"]
    assert (figure.items, figure.groups) == (60, 4)
    assert "are 4 where the rule asks for 5" in result(risen, kind="better").detail
    assert result(risen, kind="better", bound=0, least_groups=4).passed


def test_without_a_proof_nothing_passes():
    nothing = results([], proof=["golden F1"])
    assert (nothing[-1].name, nothing[-1].passed, passed(nothing)) == (PROOF, False, False)
    assert "none of golden F1 was measured" in nothing[-1].detail
    assert passed(results(items(ALTERNATING, ALTERNATING), proof=["golden F1"]))
    assert not passed(results(items([1.0] * 5, [1.0] * 5), proof=["golden F1"]))


def test_what_is_advisory_fails_nobody():
    rules = Rules.model_validate(
        {"rules": [KNOWN | {"required": False}, {"measure": "safety", "kind": "not_worse"}], "proof": []}
    )
    found = judged(rules, figures_of(items([1.0] * 60, [0.0] * 60)))
    assert [each.passed for each in found] == [False, True]
    assert passed(found)


def test_a_live_side_that_says_nothing_cannot_be_compared_with():
    cites = [Item("golden", str(n), {"golden F1": (0.0, 0.0)}, {"golden F1": (1.0, 1.0)}) for n in range(30)]
    assert "what is live says nothing" in result(cites).detail
    assert result(cites, kind="at_least", bound=0.9).passed
