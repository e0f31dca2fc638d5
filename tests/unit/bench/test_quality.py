"""Measured figures are kept, skipped where nothing changed, and shown with what they miss."""

import json
from pathlib import Path

import pytest

from bench.quality.results import REPORT, Figure, Results, compared, figure, report
from bench.quality.sets import EXAMPLES, documents_of, questions_of, spread

pytestmark = pytest.mark.timeout(20)

HOLDS = Figure("as usual", "nDCG@10", 0.42, 0.40, 0.44, 225, at_least=0.415)
MISSED = Figure("as usual", "nDCG@10", 0.41, 0.39, 0.43, 225, at_least=0.415)


def test_what_this_code_measured_is_not_measured_again(tmp_path: Path) -> None:
    Results(tmp_path, "one").keep("search", "cranfield", [HOLDS])
    assert Results(tmp_path, "one").has("search", "cranfield")
    assert not Results(tmp_path, "one").has("search", "scifact")
    assert not Results(tmp_path, "another").has("search", "cranfield")


def test_a_new_measurement_replaces_the_old_one_and_the_report_follows(tmp_path: Path) -> None:
    Results(tmp_path, "one").keep("search", "cranfield", [MISSED])
    Results(tmp_path, "another").keep("search", "cranfield", [HOLDS])
    [kept] = Results(tmp_path, "another").all()
    assert kept["figures"][0]["value"] == 0.42
    assert "0.420" in (tmp_path / REPORT).read_text()
    assert "0.410" not in (tmp_path / REPORT).read_text()


def test_a_missed_bar_is_shown_as_missed(tmp_path: Path) -> None:
    results = Results(tmp_path, "one")
    results.keep("search", "cranfield", [MISSED])
    results.keep("search", "scifact", [HOLDS])
    lines = report(results.all()).splitlines()
    assert any("cranfield" in line and "**missed**" in line for line in lines)
    assert any("scifact" in line and "| holds |" in line for line in lines)


def test_a_figure_without_a_bar_neither_holds_nor_misses() -> None:
    assert Figure("dense alone", "nDCG@10", 0.3).holds is None


def test_a_figure_lies_in_its_interval_and_questions_that_say_nothing_are_not_counted() -> None:
    [found] = figure("RAG", "citation precision", [(1.0, 2.0), (0.0, 0.0), (2.0, 2.0)])
    assert found.value == 0.75
    assert found.low is not None
    assert found.high is not None
    assert found.low <= 0.75 <= found.high
    assert found.count == 2


def test_nothing_measured_is_no_figure() -> None:
    assert figure("RAG", "citation precision", [(0.0, 0.0)]) == []
    assert compared("RAG against base", "F1", [(0.0, 0.0)], [(1.0, 1.0)]) == []


def test_a_difference_says_how_sure_it_is() -> None:
    [found] = compared("one against other", "F1", [(0.0, 1.0)] * 20, [(1.0, 1.0)] * 20)
    assert found.value == 1.0
    assert "p = " in found.note


def test_the_examples_name_documents_that_are_there() -> None:
    there = {document.id for document in documents_of(EXAMPLES)}
    asked = questions_of(EXAMPLES).questions
    assert asked
    assert {name for question in asked for name in question.documents} <= there


def test_questions_are_taken_from_the_whole_set() -> None:
    some = spread(questions_of(EXAMPLES), 3).questions
    every = questions_of(EXAMPLES).questions
    assert [some[0], some[1]] == [every[0], every[len(every) // 3]]
    assert len(some) == 3
    assert spread(questions_of(EXAMPLES), 10_000).questions == every


def test_results_are_json_that_says_of_which_state_they_are(tmp_path: Path) -> None:
    Results(tmp_path, "one").keep("search", "cranfield", [HOLDS])
    kept = json.loads((tmp_path / "search-cranfield.json").read_bytes())
    assert kept["code"] == "one"
    assert kept["commit"]
    assert kept["figures"][0]["holds"] is True
