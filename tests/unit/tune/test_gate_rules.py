"""The tenant's file of rules: what it may say, and what is told of one that says something else."""

import pytest

from services.tune.domain.gate_rules import (
    MAX_CONTENT_BYTES,
    MEASURES,
    InvalidRules,
    Items,
    KeptRules,
    Kind,
    Missing,
    On,
    Rules,
    rules_of,
)
from services.tune.gate.shipped import RULES

ONE = '[[rules]]\nmeasure = "safety"\nkind = "not_worse"\n'


def test_the_file_that_is_shipped_asks_for_every_part_of_the_gate():
    rules = rules_of(RULES.read_bytes())
    required = {rule.measure.split()[0] for rule in rules.rules if rule.required}
    assert required == {"preference", "held-out", "golden", "general", "safety", "first", "token"}
    assert {rule.measure for rule in rules.rules if rule.missing is Missing.FAIL} >= {"safety", "general accuracy"}
    defaults = Rules(rules=rules.rules)
    assert (rules.items, rules.rater_share, rules.proof) == (Items(), defaults.rater_share, defaults.proof)


def test_what_a_rule_does_not_say_is_strict():
    [rule] = rules_of(b"proof = []\n" + ONE.encode()).rules
    assert (rule.bound, rule.on, rule.required, rule.least_items) == (0.0, On.INTERVAL, True, 20)
    assert rule.kind is Kind.NOT_WORSE


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff", "not UTF-8"),
        (b"rules: []", "no TOML"),
        (b"a = " + b"[" * 20_000, "no TOML"),
        (b"a = " + b"9" * 10_000, "no TOML"),
        (b"", "rules: Field required"),
        (b"rules = []\nproof = []", "no rule is required"),
        (b'[[rules]]\nmeasure = "beauty"\nkind = "better"', "rules.0: .*no measure of this name"),
        (b'[[rules]]\nmeasure = "safety"\nkind = "nicer"', "rules.0.kind"),
        (b'[[rules]]\nmeasure = "safety"\nkind = "better"\nbound = nan', "rules.0.bound"),
        (b'[[rules]]\nmeasure = "safety"\nkind = "not_worse"\nbound = -1', "0 or more"),
        (b'[[rules]]\nmeasure = "safety"\nkind = "better"\nleast_items = 0', "rules.0.least_items"),
        (b'[[rules]]\nmeasure = "safety"\nkind = "better"\nsurprise = 1', "rules.0.surprise"),
        (b'[[rules]]\nmeasure = "token ratio"\nkind = "better"', "held by at_most"),
        (b'proof = ["golden F1"]\n' + ONE.encode(), "has no rule: golden F1"),
        (b"proof = []\nrater_share = 0\n" + ONE.encode(), "rater_share"),
        (b"#" * (MAX_CONTENT_BYTES + 1), "longer than 64 KiB"),
        (b"proof = []\n" + ONE.encode() * 101, "rules"),
    ],
)
def test_a_file_that_cannot_hold_says_where_it_is_wrong(content, message):
    with pytest.raises(InvalidRules, match=message):
        rules_of(content)


def test_a_kept_version_gives_its_rules():
    assert KeptRules(1, f"proof = []\n{ONE}").rules.rules[0].measure in MEASURES
