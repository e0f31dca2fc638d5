"""The company that nobody knows, and the people who rate: what they are asked, and what they like."""

import json

import pytest

from services.cli.evaluation.outcomes import Cited, Reply
from services.cli.tuning_demo import company
from services.cli.tuning_demo.company import CATALOGUE, GOLDEN, HELP, QUESTIONS
from services.cli.tuning_demo.raters import Asked, likes, questions_of
from services.cli.verbs.tuning_demo import MUST_RISE, SCALES, _risen
from services.common.evaluation.questions import read_set

ASKED = Asked("Who mends my broken Amber Falcon?", "The Amber Falcon is repaired by Ada Quist.", "Ada Quist")
CITED = (Cited(1, "d", "service", 0, 10),)


def test_the_same_seed_makes_the_same_company_and_another_another(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        company.write(tmp_path / name, 3, 1, 2, seed)
    a, b, c = ({each.name: each.read_text() for each in (tmp_path / name).rglob("*.*")} for name in "abc")
    assert a == b != c


def test_what_is_held_out_is_asked_of_instruments_that_the_help_pages_do_not_know(tmp_path):
    company.write(tmp_path, 45, 12, 27, 1)
    known = "".join(page.read_text() for page in (tmp_path / HELP).iterdir())
    sold = {page.name: page.read_text() for page in (tmp_path / CATALOGUE).iterdir()}
    asked = [json.loads(line) for name in (QUESTIONS, GOLDEN) for line in (tmp_path / name).read_text().splitlines()]
    assert len(asked) == 39 * 4
    for row in asked:
        [document] = row["documents"]
        person, told = row["answers"]
        assert told in sold[document]
        assert told.endswith(f" by {person}.")
        assert row["question"] not in sold[document], "a customer has other words"
        instrument = told.removeprefix("The ").partition(" is ")[0]
        assert instrument not in known
        assert person not in known, "nobody can be guessed"
    assert len(read_set(tmp_path / QUESTIONS).questions) == 27 * 4


@pytest.mark.parametrize("scale", SCALES.values())
def test_there_are_instruments_and_questions_enough_for_every_size(scale):
    found = company.pages(scale.instruments, 1)
    assert len({pages[0].instrument for pages in found}) == scale.instruments
    for count in (scale.ratings, scale.canary):
        assert len(questions_of(found[: scale.learnt], count, seed=1)) == count


@pytest.mark.parametrize(
    ("reply", "liked"),
    [
        (Reply("The Amber Falcon is repaired by Ada Quist [1].", CITED), True),
        (Reply("Ada Quist.", CITED), True),
        (Reply("Ada Quist.", ()), False),
        (Reply("It is repaired by Ada Pohl.", CITED), False),
        (Reply("Ada Quist does. " + "She is good at it. " * 8, CITED), False),
        (Reply("", ()), False),
    ],
)
def test_people_like_answers_that_are_right_short_and_cited(reply, liked):
    assert likes(ASKED, reply) is liked


@pytest.mark.parametrize(
    ("low", "risen"), [({"F1": 0.1, "citation precision": 0.01}, {True}), ({"F1": 0.0}, {False}), ({}, {False})]
)
def test_a_rise_is_one_whose_whole_interval_is_above_nothing(low, risen):
    measures = {name: {"low": value} for name, value in low.items()}
    others = {"first": "base", "second": "RAG", "measures": {name: {"low": 1.0} for name in MUST_RISE}}
    compared = {"differences": [others, {"first": "RAG", "second": "RAG + tuned", "measures": measures}]}
    assert set(_risen(compared).values()) == risen
