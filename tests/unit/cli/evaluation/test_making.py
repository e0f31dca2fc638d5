"""Sets from past ratings, and sets that are proposed for a person to edit."""

import json

import pytest
from tandem.feedback.v1 import events_pb2, feedback_service_pb2

from services.cli.evaluation.proposing import question_of
from services.common.evaluation.questions import read_set


def interaction(name: str, question: str, cited: str = "a", **more) -> events_pb2.Interaction:
    passages = [
        events_pb2.InteractionPassage(document_id="id-c"),
        events_pb2.InteractionPassage(document_id=f"id-{cited}", cited=bool(cited)),
    ]
    return events_pb2.Interaction(interaction_id=name, question=question, passages=passages, **more)


def rated(of: events_pb2.Interaction | None, thumb: int = events_pb2.THUMB_UP, correction: str = "", withheld=False):
    rating = feedback_service_pb2.Rating(thumb=thumb, correction=correction, withheld=withheld)
    return feedback_service_pb2.ExportRatingsResponse(rating=rating, interaction=of)


def test_good_answers_become_questions_with_what_they_cited(platform):
    platform.ratings.rated = [
        rated(interaction("1", "first?")),
        rated(interaction("2", "bad?"), events_pb2.THUMB_DOWN),
        rated(interaction("3", " First? ")),
        rated(interaction("4", "uncited?", cited="")),
        rated(interaction("5", "", withheld=True), withheld=True),
        rated(interaction("6", "of an evaluation?", conversation_id="evaluation-1")),
        rated(interaction("8", "of a trainer?", overridden=True)),
        rated(None),
        rated(interaction("7", "second?", cited="b"), correction="right"),
    ]
    platform.answers.found = {"first?": ["a"], "second?": ["a", "b"]}
    found = platform.json("retrieval", "--from-ratings")
    assert {request.query for request in platform.answers.searches} == {"first?", "second?"}
    assert found["configurations"][0]["figures"]["MRR@10"]["value"] == 0.75


def test_without_good_answers_there_is_no_set(platform):
    assert platform.error("retrieval", "--from-ratings")["reason"] == "NO_RATINGS"


def test_a_set_is_proposed_from_questions_and_documents_and_can_be_read_again(platform, tmp_path):
    platform.ratings.interactions = [
        interaction("1", "asked?"),
        interaction("2", "asked?"),
        interaction("3", "", withheld=True),
    ]
    platform.answers.search = lambda request: [request.query]
    out = tmp_path / "made.jsonl"
    made = platform.json("make", "--out", str(out), "--count", "3")
    assert (made["questions"], made["asked"]) == (3, 1)
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert {line["review"] for line in lines} == {"todo"}
    assert lines[0]["question"] == "asked?"
    assert lines[1]["documents"] == ["id-a"]
    assert lines[1]["note"] == "text"
    assert [question.reviewed for question in read_set(out).questions] == [False] * 3


def test_a_proposed_set_can_be_measured_and_says_that_nobody_reviewed_it(platform, tmp_path):
    platform.answers.search = lambda request: [request.query]
    out = tmp_path / "made.jsonl"
    platform.json("make", "--out", str(out))
    assert platform.json("retrieval", "--set", str(out))["notes"] == ["3 questions of the set nobody has reviewed yet"]


def test_what_a_person_has_edited_is_not_written_over_unless_forced(platform, tmp_path):
    platform.answers.search = lambda request: [request.query]
    out = tmp_path / "made.jsonl"
    out.write_text("edited")
    assert platform.error("make", "--out", str(out))["reason"] == "FILE_EXISTS"
    assert out.read_text() == "edited"
    platform.json("make", "--out", str(out), "--force")
    assert out.read_text() != "edited"


def test_documents_that_the_caller_may_not_read_are_not_asked_about(platform, tmp_path):
    out = tmp_path / "made.jsonl"
    assert platform.error("make", "--out", str(out))["reason"] == "NOTHING_TO_PROPOSE"
    assert not out.exists()


@pytest.mark.parametrize(
    ("title", "heading", "language", "question"),
    [
        ("Returns", "Deadlines", "en", "What does \u201cReturns\u201d say about \u201cDeadlines\u201d?"),
        ("Returns", "", "en", "What is \u201cReturns\u201d about?"),
        ("Returns", "returns", "", "What is \u201cReturns\u201d about?"),
        ("FAQ", "How long does it take? ", "en", "How long does it take?"),
        (
            "Retours",
            "D\u00e9lais {x}",
            "fr",
            "Que dit \u00ab\u00a0Retours\u00a0\u00bb de \u00ab\u00a0D\u00e9lais {x}\u00a0\u00bb\u00a0?",
        ),
        ("Retours", "", "fr", "De quoi parle \u00ab\u00a0Retours\u00a0\u00bb\u00a0?"),
    ],
)
def test_a_heading_becomes_a_question_in_its_language(title, heading, language, question):
    assert question_of(title, heading, language) == question
