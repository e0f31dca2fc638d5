"""How an answer looks to a person."""

import pytest
from tandem.gateway.v1 import gateway_service_pb2 as pb
from tandem.retrieve.v1.retrieve_service_pb2 import Passage

from services.cli.output import Output
from services.cli.views.answers import Answer

PASSAGES = pb.RetrievalDone(passages=[Passage(title="Shipping"), Passage(title="Returns")])


def shown(capsys, *events):
    answer = Answer(Output(as_json=False))
    for event in (pb.AskResponse(retrieval_done=PASSAGES), *events):
        answer.take(event)
    return capsys.readouterr().out


def said(text):
    return pb.AskResponse(token_delta=pb.TokenDelta(text=text))


def cited(*unsupported, numbers=()):
    citations = [pb.Citation(number=number, passage_index=index) for number, index in numbers]
    return pb.AskResponse(citations=pb.Citations(citations=citations, unsupported=unsupported))


def test_cited_passages_are_named_once_under_the_answer(capsys):
    out = shown(capsys, said("Yes."), cited(numbers=[(1, 1), (1, 1)]))
    assert out.index("Yes.") < out.index("[1] Returns")
    assert out.count("Returns") == 1


@pytest.mark.parametrize(
    ("reason", "why"),
    [
        (pb.UNSUPPORTED_REASON_NO_SUPPORT, "no passage says this"),
        (pb.UNSUPPORTED_REASON_NUMBER_DIFFERS, "another number"),
        (99, "unsupported"),
    ],
)
def test_a_sentence_that_is_unsupported_is_marked_with_the_reason(capsys, reason, why):
    sentence = pb.Sentence(answer_start=5, answer_end=13, reason=reason)
    out = shown(capsys, said("Yes. In 14 da\x1b[2Jys."), cited(sentence))
    (line,) = [line for line in out.splitlines() if line.startswith("[?]")]
    assert why in line
    assert line.endswith("In 14 da")


def test_where_there_is_no_answer_the_nearest_sources_follow_the_text(capsys):
    abstained = pb.Abstained(reason=pb.ABSTENTION_REASON_LITTLE_EVIDENCE, nearest=[1])
    out = shown(capsys, pb.AskResponse(abstained=abstained), said("I don't find this."), cited())
    assert out.index("I don't find this.") < out.index("near: Returns")
    assert "Shipping" not in out


def test_an_answer_that_turned_out_to_be_none_is_warned_of(capsys):
    abstained = pb.Abstained(reason=pb.ABSTENTION_REASON_UNSUPPORTED, nearest=[0], late=True)
    out = shown(capsys, said("The moon is cheese."), cited(), pb.AskResponse(abstained=abstained))
    assert out.index("moon") < out.index("do not rely on this answer") < out.index("near: Shipping")
