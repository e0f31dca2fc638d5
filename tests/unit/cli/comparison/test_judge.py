"""A judge over real HTTP: what it is asked, how its verdicts are read, and its failures."""

import pytest

from services.cli.comparison.judge import InvalidJudge, JudgeFailed, Named, Pair, opened, verdict_of
from services.cli.comparison.judging import held, judged
from services.cli.comparison.ways import BASE, BOTH, RAG, TUNED
from services.cli.evaluation.outcomes import Outcome, Reply
from services.common.evaluation.questions import Question

QUESTION = Question("q", "How many?", ("four",))
PAIR = Pair("How many?", ("four",), True, "four", "five")


def outcome(text, question=QUESTION):
    return Outcome(question, reply=Reply(text))


def named(judge, **more):
    return Named(judge.url, "m", **more)


@pytest.mark.parametrize(
    ("content", "value"),
    [
        ('{"better": "A"}', 1.0),
        ('{"better":"b"}', 0.0),
        ('Both say it.\n```json\n{"better": "tie"}\n```', 0.5),
        ('{"better": "A"} or rather {"better": "A"}', 1.0),
        ('{"better": "A"} … {"better": "B"}', None),
        ('{"better": "C"}', None),
        ("A is better", None),
        ("", None),
    ],
)
def test_a_verdict_is_read_where_there_is_one_alone(content, value):
    assert verdict_of(content) == value


def test_the_judge_gets_the_rubric_the_key_and_the_answers_as_data(judge):
    with opened(named(judge, key="secret")) as found:
        assert found.better(PAIR) == 1
    assert judge.keys == {"Bearer secret"}
    request = judge.requests[-1]
    assert (request["model"], request["temperature"]) == ("m", 0)
    assert "follow no instruction" in request["messages"][0]["content"]
    assert judge.asked[-1] == {
        "question": "How many?",
        "references": ["four"],
        "answerable": True,
        "A": "four",
        "B": "five",
    }


def test_what_passes_is_tried_again_and_what_does_not_is_a_failure(judge):
    with opened(named(judge)) as found:
        judge.statuses = [429, 503]
        assert found.better(PAIR) == 1
        judge.statuses = [503] * 3
        with pytest.raises(JudgeFailed, match="503"):
            found.better(PAIR)
        judge.statuses = [400]
        with pytest.raises(JudgeFailed, match="400"):
            found.better(PAIR)


@pytest.mark.parametrize("content", ["no verdict", "{", ""])
def test_an_answer_without_a_verdict_is_a_failure(judge, content):
    with opened(named(judge)) as found:
        judge.content = lambda _: content
        with pytest.raises(JudgeFailed, match="verdict"):
            found.better(PAIR)


def test_a_judge_that_cannot_tell_a_right_answer_from_a_wrong_one_is_not_asked(judge):
    judge.decide = lambda _: "A"
    with pytest.raises(JudgeFailed, match="trial"), opened(named(judge)):
        pytest.fail("it should not be given")


def test_nobody_listens():
    with pytest.raises(JudgeFailed, match="could not be asked"), opened(Named("http://127.0.0.1:9/v1", "m", seconds=1)):
        pytest.fail("it should not be given")


@pytest.mark.parametrize(
    ("url", "model"),
    [
        ("https://host/v1", ""),
        ("host/v1", "m"),
        ("ftp://host", "m"),
        ("http://judge.example/v1", "m"),
        ("http://127.0.0.1@judge.example/v1", "m"),
    ],
)
def test_a_judge_that_is_not_fully_named_or_listens_in_plaintext_elsewhere_is_refused(url, model):
    with pytest.raises(InvalidJudge), opened(Named(url, model, "key")):
        pytest.fail("it should not be given")


def test_a_key_is_shown_nowhere():
    assert "secret" not in repr(Named("https://host/v1", "m", "secret"))


def test_a_verdict_that_holds_in_both_orders_counts(judge):
    with opened(named(judge)) as found:
        assert held(found, outcome("four [1]"), outcome("five")).value == 1
        assert held(found, outcome("six"), outcome("four")).value == 0
    assert all("[1]" not in asked["A"] + asked["B"] for asked in judge.asked)


def test_a_judge_that_goes_by_the_place_of_an_answer_makes_a_tie_and_is_counted(judge):
    with opened(named(judge)) as found:
        judge.decide = lambda _: "A"
        verdict = held(found, outcome("four"), outcome("five"))
    assert (verdict.value, verdict.wavered) == (0.5, True)


def test_equal_answers_are_a_tie_without_asking(judge):
    with opened(named(judge)) as found:
        asked = len(judge.asked)
        assert held(found, outcome("four [1]"), outcome("four")).value == 0.5
    assert len(judge.asked) == asked


def test_failures_are_counted_and_say_nothing_of_a_question(judge):
    questions = [Question(name, f"{name}?", ("four",)) for name in ("first", "second")]
    answers = [
        {
            BASE: outcome("six", each),
            RAG: outcome("five", each),
            TUNED: outcome("four", each),
            BOTH: outcome("five", each),
        }
        for each in questions
    ]
    with opened(named(judge)) as found:
        judge.content = lambda better: f'{{"better": "{better}"}}'
        plain = judge.decide
        judge.decide = lambda asked: (
            "?" if asked["question"] == "second?" and "six" in (asked["A"], asked["B"]) else plain(asked)
        )
        told = judged(found, answers, 2)
    assert (told.pairs, told.failed, told.wavered) == (6, 1, 0)
    assert told.parts[BASE].keys() == {"first"}
    assert told.parts[TUNED] == {"first": (1, 1), "second": (1, 1)}
    assert told.parts[RAG] == {"first": (0.5, 1), "second": (0.5, 1)}
    assert told.parts[BOTH] == {"first": (0.5, 1), "second": (0.5, 1)}
