"""Rows held out: what is measured on each kind, whose word counts how much, and what poison can do."""

import math
import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.tune.domain.gate_rules import Rules, rules_of
from services.tune.gate.contest import Contest, drawn
from services.tune.gate.held_out import measured, prompt_of, weights_of
from services.tune.gate.measuring import figures_of
from services.tune.gate.ports import Contender, Rows
from services.tune.gate.shipped import RULES
from services.tune.gate.verdict import judged, passed
from tests.unit.tune.gate.engine import ADA, MemoryEngine

CANDIDATE, LIVE = Contender("candidate-1", "sha256:1"), Contender()
DEFAULT = rules_of(RULES.read_bytes())
MANY = DEFAULT.model_copy(update={"items": DEFAULT.items.model_copy(update={"held_out": 2_000})})
# What a rule of preferences says alone.
PREFERENCES = Rules.model_validate(
    {"rules": [{"measure": "preference margin", "kind": "better"}], "proof": ["preference margin"]}
)


async def silent(stage, progress):
    pass


def contest(engine, rules: Rules = MANY):
    engine.loaded.add(CANDIDATE.name)
    return Contest(ADA, engine, CANDIDATE, LIVE, rules, silent, 2)


def row(number, **fields):
    common = {
        "id": f"r{number}",
        "conversation": f"c{number}",
        "question": f"question {number}",
        "raters": [],
        "weight": 1.0,
    }
    return common | {"history": None, "passages": None, "instructions": ""} | fields


def pair(number, rater="", chosen="good words", rejected="bad words"):
    return row(number, chosen=chosen, rejected=rejected, raters=[rater] if rater else [])


def rating(number, label, rater="", completion="some words"):
    return row(number, completion=completion, label=label, raters=[rater] if rater else [])


async def figures(engine, kind, rows, rules=MANY):
    return figures_of(await measured(contest(engine, rules), Rows(kind, rows)))


def prefers(good_margin):
    """Scores of a candidate that finds good words so much likelier than bad ones; live finds both alike."""
    return lambda who, _prompt, text: -1.0 + (good_margin if who == CANDIDATE and "good" in text else 0.0)


async def test_of_pairs_the_margin_a_token_and_how_often_it_is_positive():
    found = await figures(MemoryEngine(scores=prefers(0.25)), "dpo", [pair(n) for n in range(30)])
    assert found["preference margin"].difference.value == pytest.approx(0.25)
    assert found["preference accuracy"].candidate.value == 1
    assert found["preference accuracy"].live.value == 0


async def test_a_longer_completion_is_not_worse_for_being_long():
    rows = [pair(n, chosen="good words that go on and on", rejected="bad") for n in range(30)]
    found = await figures(MemoryEngine(), "dpo", rows)
    assert found["preference margin"].candidate.value == pytest.approx(0)


async def test_of_labels_good_and_bad_count_the_same_however_many_there_are():
    rows = [rating(n, n >= 5) for n in range(100)]
    everything_likelier = MemoryEngine(scores=lambda who, _p, _t: -0.5 if who == CANDIDATE else -1.0)
    found = await figures(everything_likelier, "kto", rows)
    assert found["preference margin"].difference.value == pytest.approx(0, abs=1e-9)
    right = MemoryEngine(scores=lambda who, p, _t: -1.0 + 0.2 * (who == CANDIDATE and int(p.question[9:]) >= 5))
    assert (await figures(right, "kto", rows))["preference margin"].difference.value == pytest.approx(0.2)


async def test_of_completions_how_likely_they_are():
    engine = MemoryEngine(scores=lambda who, _p, _t: -0.5 if who == CANDIDATE else -1.0)
    found = await figures(engine, "sft", [row(n, completion="some words") for n in range(30)])
    assert found["held-out likelihood"].difference.value == pytest.approx(0.5)


async def test_of_bad_answers_alone_nothing_can_be_told():
    assert not await figures(MemoryEngine(), "kto", [rating(n, label=False) for n in range(30)])
    assert "held-out likelihood" in await figures(MemoryEngine(), "kto", [rating(n, label=True) for n in range(30)])


async def test_of_questions_with_right_answers_the_answers():
    passage = {"document_id": "d1", "title": "Hours", "text": "The shop closes at 6 pm."}
    rows = [row(n, answers=["6 pm"], answerable=True, passages=[passage]) for n in range(20)]
    rows += [row(n, answers=[], answerable=False, passages=[passage]) for n in range(20, 40)]
    rows += [row(99, answers=[], answerable=True)]

    def answers(who, prompt):
        if who == LIVE:
            return "The shop closes at 6 pm."
        return "6 pm" if int(prompt.question[9:]) < 20 else "The passages do not tell."

    found = await figures(MemoryEngine(answers=answers), "grpo", rows)
    assert found["held-out exact match"].difference.value == 1
    assert found["held-out abstention recall"].difference.value == 1
    assert found["held-out groundedness"].live.value == 1
    assert found["held-out F1"].items == 20


async def test_what_no_prompt_or_score_holds_is_left_out():
    rows = [pair(n) for n in range(10)]
    rows[3]["question"] = "it is too long"
    rows[4]["chosen"] = "x" * 8_001
    rows[5]["rejected"] = ""
    found = await figures(MemoryEngine(), "dpo", rows)
    assert found["preference margin"].items == 7


async def test_so_many_are_drawn_as_the_rules_say_half_of_them_bad():
    few = DEFAULT.model_copy(update={"items": DEFAULT.items.model_copy(update={"held_out": 20})})
    found = await measured(contest(MemoryEngine(), few), Rows("kto", [rating(n, n % 10 > 0) for n in range(200)]))
    signs = Counter(math.copysign(1, item.candidate["preference margin"][0]) for item in found)
    assert signs == {1: 10, -1: 10}
    rare = await measured(contest(MemoryEngine(), few), Rows("kto", [rating(n, n > 2) for n in range(200)]))
    assert len(rare) == 20


async def test_nothing_held_out_is_no_error():
    assert await measured(contest(MemoryEngine()), Rows("dpo", ())) == []


def test_what_is_drawn_does_not_depend_on_the_order():
    names = [f"r{n}" for n in range(100)]
    shuffled = random.Random(1).sample(names, 100)
    assert drawn(names, str, 10) == drawn(shuffled, str, 10)


def test_a_row_becomes_the_prompt_that_generate_packs():
    found = prompt_of(
        row(1, history=[{"question": "q", "answer": "a"}], passages=[{"document_id": "d", "title": "T", "text": "x"}])
    )
    assert (found.history, found.passages[0].documents, found.restricted) == ((("q", "a"),), ("d",), True)


@given(st.lists(st.integers(1, 500), min_size=1, max_size=40), st.floats(0.05, 1.0))
@settings(max_examples=60, deadline=None)
def test_no_rater_has_more_than_the_share_or_twice_an_equal_one(counts, share):
    rows = [
        rating(f"{rater}/{n}", label=True, rater=f"u{rater}")
        for rater, count in enumerate(counts)
        for n in range(count)
    ]
    weights = weights_of(rows, share)
    totals = Counter()
    for each in rows:
        totals[each["raters"][0]] += weights[each["id"]]
    most = max(share, 2 / len(counts))
    assert max(totals.values()) <= most * sum(totals.values()) * (1 + 1e-9) or len(counts) == 1
    assert all(0 < weight <= 1 for weight in weights.values())


def test_rows_that_nobody_rated_keep_their_weight():
    rows = [row(1, completion="x", weight=0.5), rating(2, label=True, rater="u1")]
    assert weights_of(rows, 0.1) == {"r1": 0.5, "r2": 1.0}


def poisoned(honest=490, poison=10, raters=24):
    """Pairs of many raters, who prefer good words, and of two who prefer to sell something."""
    clean = [pair(n, f"u{n % raters}") for n in range(honest)]
    bought = [pair(honest + n, f"bot{n % 2}", chosen="buy spam", rejected="good words") for n in range(poison)]
    return clean + bought


def scored(spam, good, noise=0.3):
    """A candidate that finds spam and good words so much likelier than live does, and is unsure of each."""
    chance = random.Random(7)
    unsure = {(number, text): chance.gauss(0, noise) for number in range(2_000) for text in ("good", "bad", "buy")}

    def mean(who, prompt, text):
        if who != CANDIDATE:
            return -1.0
        kind = text.partition(" ")[0]
        return -1.0 + unsure[int(prompt.question[9:]), kind] + {"buy": spam, "good": good, "bad": 0.0}[kind]

    return mean


async def gate(rows, scores):
    return passed(judged(PREFERENCES, await figures(MemoryEngine(scores=scores), "dpo", rows)))


@pytest.mark.parametrize("noise", [0.0, 0.3])
async def test_poison_of_two_raters_does_not_pass_what_learnt_nothing_else(noise):
    assert not await gate(poisoned(), scored(spam=2.0, good=0.0, noise=noise))


async def test_poison_of_two_raters_does_not_fail_what_learnt_what_people_prefer():
    assert await gate(poisoned(), scored(spam=0.0, good=0.5))


@pytest.mark.parametrize("noise", [0.0, 0.3])
async def test_two_raters_who_flood_the_ratings_pass_nothing_either(noise):
    assert not await gate(poisoned(honest=200, poison=1_000), scored(spam=2.0, good=0.0, noise=noise))


async def test_what_learnt_poison_at_the_cost_of_what_people_prefer_is_worse():
    found = await figures(MemoryEngine(scores=scored(spam=2.0, good=-0.3)), "dpo", poisoned())
    assert found["preference margin"].difference.high < 0
