"""The page of a report: what it shows, and that no text of a set or of the platform becomes markup."""

import pytest

from services.cli.evaluation.outcomes import Cited, Found, Outcome, Reply
from services.cli.evaluation.page import page_of, pieces_of, worst_cases
from services.cli.evaluation.report import Report, answers_score, compared, evaluated, passages_score
from services.cli.evaluation.running import Run
from services.common.evaluation.questions import Question

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&{{ 7*7 }}\x1b[31m"


def searched(values: dict[str, list[str]], name: str = "live", text: str = "text"):
    outcomes = tuple(
        Outcome(
            Question(key, f"question {key}?", documents={"a": 1}),
            tuple(Found(each, each, each, text) for each in found),
        )
        for key, found in values.items()
    )
    relevant = {key: {"a": 1} for key in values}
    return evaluated(name, Run(outcomes, is_whole=True), passages_score(relevant, 10)), relevant


def test_hostile_text_is_shown_and_does_nothing():
    question = Question(HOSTILE, HOSTILE, (HOSTILE,), {HOSTILE: 1})
    reply = Reply(HOSTILE, (Cited(1, HOSTILE, HOSTILE, 0, 3),), ((0, 9),), 0.5, 2)
    outcome = Outcome(question, (Found(HOSTILE, HOSTILE, HOSTILE, HOSTILE),), reply, 0.1)
    found = Outcome(Question("x", HOSTILE, (), {"d": 1}), (Found(HOSTILE, HOSTILE, f"javascript:{HOSTILE}", HOSTILE),))
    relevant = {HOSTILE: {"d": 1}, "x": {"d": 1}}
    for kind, one, score in (
        ("answers", outcome, answers_score(relevant, "")),
        ("retrieval", found, passages_score(relevant, 10)),
    ):
        each = evaluated(HOSTILE, Run((one,), is_whole=True), score)
        page = page_of(Report(kind, HOSTILE, (each,), {}, (HOSTILE,), relevant, {"d": HOSTILE}))
        assert "&lt;script&gt;" in page
        assert "{{ 7*7 }}" in page
        for markup in ("<script", "<img", "<a ", 'href="j', "\x1b"):
            assert markup not in page.replace("<style", "")
        assert "default-src 'none'" in page


def test_the_page_needs_nothing_from_elsewhere():
    each, relevant = searched({"1": ["a"], "2": ["b"]})
    page = page_of(Report("retrieval", "set", (each,), {}, (), relevant))
    assert "<link" not in page
    assert "src=" not in page
    assert page.count("<svg") == 2
    assert "<?xml" not in page


def test_figures_have_intervals_and_differences_their_significance():
    first, relevant = searched({str(number): ["a"] for number in range(30)}, "new")
    second, _ = searched({str(number): ["b", "a"] for number in range(30)}, "old")
    report = Report("retrieval", "set", (first, second), compared((first, second)), (), relevant)
    page = page_of(report)
    assert page.count("<svg") == 3
    assert "+0.500" in page
    assert "yes" in page


def test_the_worst_questions_come_first():
    each, relevant = searched({"good": ["a"], "bad": [], "middling": ["b", "a"]})
    report = Report("retrieval", "set", (each,), {}, (), relevant)
    assert [case.question.id for case in worst_cases(report, "MRR@10")] == ["bad", "middling", "good"]


def test_of_two_configurations_the_greatest_falls_come_first_and_what_only_one_has_is_left_out():
    first, relevant = searched({"fell": [], "same": [], "rose": ["a"], "alone": []})
    second, _ = searched({"fell": ["a"], "same": [], "rose": ["b", "a"]})
    report = Report("retrieval", "set", (first, second), {}, (), relevant)
    assert [case.question.id for case in worst_cases(report, "MRR@10")] == ["fell", "same", "rose"]


def test_an_answer_to_what_the_documents_do_not_tell_is_among_the_worst():
    outcome = Outcome(Question("1", "q?", answerable=False), reply=Reply("made up"))
    each = evaluated("live", Run((outcome,), is_whole=True), answers_score({}, ""))
    [case] = worst_cases(Report("answers", "set", (each,), {}, ()), "F1")
    assert case.sides[0].score == 0


@pytest.mark.parametrize(
    ("spans", "pieces"),
    [
        ((), [("abcdef", False)]),
        (((2, 4),), [("ab", False), ("cd", True), ("ef", False)]),
        (((0, 6),), [("abcdef", True)]),
        (((4, 9), (2, 1), (-1, 2)), [("abcdef", False)]),
        (((0, 3), (2, 4)), [("abc", True), ("def", False)]),
    ],
)
def test_unsupported_spans_are_marked_where_they_make_sense(spans, pieces):
    assert [(piece.text, piece.unsupported) for piece in pieces_of(Reply("abcdef", unsupported=spans))] == pieces


def test_a_report_of_nothing_is_still_a_page():
    each = evaluated("live", Run((), is_whole=False), passages_score({}, 10))
    assert "<h1>" in page_of(Report("retrieval", "set", (each,), {}, ("interrupted",)))
