"""`tandem eval answers` against a gateway that answers what it is told to."""

from pathlib import Path

import pytest
from tandem.gateway.v1 import gateway_service_pb2 as pb

from tests.unit.cli.evaluation.platform import passage


def answering(text: str, *, cites: str = "", abstained: bool = False, supported: float = 1.0) -> list[pb.AskResponse]:
    """Return the events of an answer."""
    citations = [pb.Citation(number=1, passage_index=0, answer_end=len(text))] if cites else []
    events = [
        pb.AskResponse(retrieval_done=pb.RetrievalDone(passages=[passage(cites or "c")])),
        *(pb.AskResponse(token_delta=pb.TokenDelta(text=piece)) for piece in (text[:3], text[3:])),
        pb.AskResponse(citations=pb.Citations(citations=citations, supported_share=supported, sentences=1)),
    ]
    return [*events, pb.AskResponse(abstained=pb.Abstained())] if abstained else events


@pytest.fixture
def questions(tmp_path) -> Path:
    path = tmp_path / "set.csv"
    rows = ["first?,four,a,", "second?,five,b,", "third?,,,no"]
    path.write_text("\n".join(["question,answers,documents,answerable", *rows]))
    return path


def test_words_citations_support_and_abstention_are_measured(platform, questions):
    answers = {
        "first?": answering("The four. [1]", cites="a"),
        "second?": answering("Six five", cites="a", supported=0.0),
        "third?": answering("I do not know", abstained=True),
    }
    platform.answers.answer = lambda request: answers[request.question]
    figures = platform.json("answers", "--set", str(questions))["configurations"][0]["figures"]
    values = {measure: figure["value"] for measure, figure in figures.items()}
    assert values["exact match"] == 0.5
    assert values["F1"] == pytest.approx((1 + 2 / 3) / 2)
    assert values["contains"] == 1
    assert (values["citation precision"], values["citation recall"]) == (0.5, 0.5)
    assert values["groundedness"] == pytest.approx(2 / 3)
    assert (values["abstention precision"], values["abstention recall"], values["abstention F1"]) == (1, 1, 1)


def test_a_set_where_every_question_has_an_answer_says_nothing_of_abstention(platform, tmp_path):
    path = tmp_path / "set.csv"
    path.write_text("question,answers\nfirst?,four\n")
    platform.answers.answer = lambda _: answering("four")
    figures = platform.json("answers", "--set", str(path))["configurations"][0]["figures"]
    assert "abstention F1" not in figures
    assert platform.documents.sources == []


def test_a_document_that_was_taken_away_is_looked_for_nowhere(platform, tmp_path):
    path = tmp_path / "set.csv"
    path.write_text("question,documents,answerable\nfirst?,taken away,no\n")
    platform.answers.answer = lambda _: answering("four", cites="a")
    figures = platform.json("answers", "--set", str(path))["configurations"][0]["figures"]
    assert figures["citation precision"]["value"] == 0
    assert figures["abstention recall"]["value"] == 0
    assert platform.documents.sources == []


def test_every_question_is_a_conversation_of_its_own_that_nobody_learns_from(platform, questions):
    platform.answers.answer = lambda _: answering("four")
    platform.json("answers", "--set", str(questions), "--max-tokens", "9", "--filter-source", "wiki")
    conversations = {request.conversation_id for request in platform.answers.asked}
    assert len(conversations) == 3
    assert all(each.startswith("evaluation-") for each in conversations)
    assert {request.sampling.max_tokens for request in platform.answers.asked} == {9}
    assert list(platform.answers.asked[0].filter.sources) == ["wiki"]


def test_two_assistants_are_compared(platform, questions):
    platform.answers.answer = lambda request: answering("four" if request.assistant else "five")
    found = platform.json("answers", "--set", str(questions), "--assistant", "new", "--against", "old")
    assert [each["name"] for each in found["configurations"]] == ["new", "old"]
    assert found["differences"]["exact match"]["value"] == 0


def test_the_base_is_the_assistant_that_answers_without_retrieval(platform, questions):
    assert platform.error("answers", "--set", str(questions), "--base")["reason"] == "NO_BASE_ASSISTANT"
    platform.assistants.base = True
    platform.answers.answer = lambda _: answering("four")
    found = platform.json("answers", "--set", str(questions), "--base")
    assert [each["name"] for each in found["configurations"]] == ["default", "bare"]
