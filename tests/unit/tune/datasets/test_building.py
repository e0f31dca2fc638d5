"""A data set is the same for the same rows, says what was dropped, and is judged."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.tune.datasets.clean.leakage import Golden
from services.tune.datasets.errors import DatasetEmpty
from services.tune.datasets.parameters import Parameters
from services.tune.datasets.rows import Kind, columns_of, digest_of, identified, record_of, row_of
from services.tune.datasets.splitting import SPLITS, split
from tests.unit.tune.datasets.making import built, rated, row, step_of


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**16), st.integers(0, 3))
def test_the_digest_is_the_same_in_whatever_order_rows_come_and_another_for_another_seed(order, seed):
    rows = [row(number) for number in range(40)]
    first = built(rows=rows, parameters=Parameters(seed=seed)).card.digest
    random.Random(order).shuffle(rows)
    assert built(rows=rows, parameters=Parameters(seed=seed)).card.digest == first
    assert built(rows=rows, parameters=Parameters(seed=seed + 1)).card.digest != first


def test_the_digest_is_of_rows_kind_and_parameters():
    records = {name: [record_of(row(1), columns_of(Kind.SFT))] for name in SPLITS}
    first = digest_of(Kind.SFT, {"seed": 0}, records)
    assert len(first) == 64
    assert first != digest_of(Kind.KTO, {"seed": 0}, records)
    assert first != digest_of(Kind.SFT, {"seed": 1}, records)
    records["test"] = []
    assert first != digest_of(Kind.SFT, {"seed": 0}, records)


def test_a_row_comes_back_from_json_as_it_was():
    for one in (row(1), row(2, label=False, raters=("user:ada",), people=("user:ada",), answers=("yes",))):
        assert row_of(record_of(one)) == one


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 8), st.integers(0, 27)), min_size=1, max_size=80))
def test_no_conversation_and_no_question_is_in_two_parts(facts):
    rows = {
        identified(
            row(number, conversation=f"c{conversation}" if conversation else "", at=f"2026-10-{day + 1:02}"), Kind.SFT
        )
        for number, conversation, day in facts
    }
    parts = split(list(rows), 0.2, 0.2, 0)
    assert sorted(each.id for part in parts.values() for each in part) == sorted(each.id for each in rows)
    for told in (lambda each: each.conversation, lambda each: each.question):
        seen = [{told(each) for each in part if told(each)} for part in parts.values()]
        assert sum(map(len, seen)) == len(set().union(*seen))


def test_what_is_newest_is_measured_on():
    rows = [
        identified(row(number, at=f"2026-{1 + number // 28:02}-{1 + number % 28:02}"), Kind.SFT)
        for number in range(100)
    ]
    parts = split(rows, 0.1, 0.1, 0)
    assert {name: len(part) for name, part in parts.items()} == {"train": 80, "validation": 10, "test": 10}
    assert max(each.at for each in parts["train"]) < min(each.at for each in parts["validation"])
    assert max(each.at for each in parts["validation"]) < min(each.at for each in parts["test"])


def test_nearly_the_same_question_and_the_same_long_answer_stay_together():
    said = "turn the machine off pull the plug wait for half an hour and lift the left panel carefully"
    rows = [identified(row(number, at=f"2026-10-{number + 1:02}"), Kind.SFT) for number in range(20)]
    rows += [
        identified(
            row(50, question="How do I open the machine?", completion=f"Please {said}.", at="2026-09-01"), Kind.SFT
        ),
        identified(
            row(51, question="Why will the cover not move?", completion=f"First {said}!", at="2026-11-01"), Kind.SFT
        ),
        identified(
            row(52, question="How do I open the machine??", completion="By the panel.", at="2026-11-02"), Kind.SFT
        ),
    ]
    parts = split(rows, 0.2, 0.1, 0)
    places = {
        name for name, part in parts.items() for each in part if each.completion in {r.completion for r in rows[20:]}
    }
    assert len(places) == 1


def test_everything_that_is_dropped_is_counted_with_its_reason():
    rows = [row(number) for number in range(60)]
    rows += [row(0), row(1, question=row(1).question.upper() + " "), row(100, question="caf\ufffd costs what today?")]
    rows += [
        row(101, completion=""),
        row(102, question="x " * 5000),
        row(103, question="Is the golden kettle of gold?"),
    ]
    made = built(rows=rows, golden=[Golden("Is the golden kettle really of gold?")])
    assert step_of(made.report, "encodings")["dropped"] == {"broken encoding": 1, "empty": 1}
    assert step_of(made.report, "duplicates")["dropped"] == {"exact duplicate": 2}
    assert step_of(made.report, "golden items")["dropped"] == {"golden question": 1}
    assert step_of(made.report, "length")["dropped"] == {"question too long": 1}
    assert sum(made.report["rows"].values()) == 60
    assert made.card.fit, made.card.reasons
    for before, after in zip(made.report["steps"], made.report["steps"][1:], strict=False):
        assert before["out"] == after["in"]


def test_a_small_data_set_is_not_fit_and_an_empty_one_is_none():
    made = built(rows=[row(number) for number in range(4)])
    assert not made.card.fit
    assert "rows to learn from" in made.card.reasons[0]
    with pytest.raises(DatasetEmpty, match="nothing was found"):
        built(rows=[])
    with pytest.raises(DatasetEmpty, match="1 empty"):
        built(rows=[row(1, question="")])


def test_answers_that_are_nearly_all_good_do_not_teach_kto():
    rows = [row(number, label=number != 3) for number in range(60)]
    made = built(Kind.KTO, rows=rows)
    assert any("are good answers" in reason for reason in made.card.reasons)
    assert built(Kind.KTO, rows=[row(number, label=number % 3 > 0) for number in range(60)]).card.fit


def test_who_is_behind_a_duplicate_stays_known():
    rows = [row(number) for number in range(40)] + [row(3, raters=("user:bob",), people=("user:bob", "user:eve"))]
    rows[3] = row(3, raters=("user:ada",), people=("user:ada",))
    made = built(rows=rows)
    [kept] = [each for part in made.splits.values() for each in part if each.question == row(3).question]
    assert kept.raters == ("user:ada", "user:bob")
    assert made.card.people == ("user:ada", "user:bob", "user:eve")


def test_the_report_counts_lengths_sources_languages_and_topics():
    made = built(rows=[row(number) for number in range(60)])
    report = made.report
    assert report["lengths"]["limit"] == 2048
    assert sum(report["lengths"]["whole"]["counts"]) == 60
    assert report["lengths"]["whole"]["max"] <= 2048
    assert report["coverage"]["sources"] == {"shop": 60}
    assert report["balance"]["cite"] == 60
    assert {"split", "row"} == set(report["samples"][0])
    assert report["verdict"]["fit"]


def test_ratings_become_rows_of_every_kind():
    ratings = [rated(number, f"user:{number % 7}", up=number % 3 > 0) for number in range(90)]
    ratings += [
        rated(
            number, f"user:{number % 7}", up=False, rating_id=f"c{number}", correction=f"It costs {number + 9} euros."
        )
        for number in range(0, 90, 3)
    ]
    for kind, least in ((Kind.SFT, 60), (Kind.KTO, 90), (Kind.DPO, 30), (Kind.GRPO, 80)):
        made = built(kind, ratings=ratings, origins=("ratings",), rated=True)
        rows = [each for part in made.splits.values() for each in part]
        assert len(rows) >= least, kind
        assert all(each.raters for each in rows)
