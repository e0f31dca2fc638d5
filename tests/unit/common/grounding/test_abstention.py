"""When it is said that the passages do not tell."""

import pytest

from services.common.grounding.abstention import NEVER, AbstentionReason, Thresholds, says_nothing, text_of
from services.common.grounding.citations import Checked, Reason, Span, Verdict
from services.common.grounding.evidence import Evidence

THRESHOLDS = Thresholds(0.5, 0.6)
UNSUPPORTED = Checked((Verdict(0, 5, None, Reason.NO_SUPPORT),))
SUPPORTED = Checked((Verdict(0, 5, Span(0, 0, 5, 1.0), None), *UNSUPPORTED.verdicts))


def evidence(score):
    return Evidence(score, (3, 1, 0, 2))


def test_little_evidence_spares_the_model_and_offers_the_three_nearest():
    abstention = THRESHOLDS.before(evidence(0.49))
    assert (abstention.reason, abstention.late) == (AbstentionReason.LITTLE_EVIDENCE, False)
    assert abstention.nearest == (3, 1, 0)
    assert THRESHOLDS.before(evidence(0.5)) is None


def test_no_passages_are_a_reason_of_their_own():
    assert THRESHOLDS.before(Evidence(0.0, ())).reason is AbstentionReason.NO_PASSAGES


def test_between_the_thresholds_an_answer_needs_a_sentence_that_is_supported():
    late = THRESHOLDS.after(evidence(0.55), UNSUPPORTED, "The moon is cheese.")
    assert (late.reason, late.late) == (AbstentionReason.UNSUPPORTED, True)
    assert THRESHOLDS.after(evidence(0.55), SUPPORTED, "The moon is cheese.") is None
    assert THRESHOLDS.after(evidence(0.65), UNSUPPORTED, "The moon is cheese.") is None
    assert THRESHOLDS.after(evidence(0.55), Checked(()), "Yes!") is None


def test_a_model_that_says_so_is_believed_whatever_the_evidence():
    said = "The passages do not mention this."
    assert THRESHOLDS.after(evidence(1.0), UNSUPPORTED, said).reason is AbstentionReason.MODEL
    assert THRESHOLDS.after(evidence(1.0), SUPPORTED, said) is None


def test_thresholds_of_zero_never_refuse():
    assert NEVER.before(Evidence(0.0, ())) is None
    assert NEVER.after(evidence(0.0), UNSUPPORTED, "I don't know.") is None


@pytest.mark.parametrize(
    "answer",
    [
        "The passages do not tell.",
        "The provided context doesn't contain this information.",
        "The price is not mentioned in the passages.",
        "I don't know.",
        "Sorry, I cannot find it.",
        "Les passages ne précisent pas ce prix.",
        "Je ne sais pas.",
        "Die Dokumente enthalten dazu keine Angaben.",
        "Ich weiß es nicht.",
        "Los documentos no mencionan el precio.",
        "I documenti non dicono nulla.",
    ],
)
def test_a_model_says_in_many_ways_that_it_does_not_know(answer):
    assert says_nothing(answer)


@pytest.mark.parametrize(
    "answer", ["Returns are not accepted after 30 days.", "It is 42.", "", "Nobody knows the trouble."]
)
def test_a_denial_is_an_answer(answer):
    assert not says_nothing(answer)


@pytest.mark.parametrize(("language", "begins"), [("fr", "Je ne trouve"), ("de", "Darauf"), ("ja", "I don't")])
def test_it_is_said_in_the_questions_language_where_we_write_it(language, begins):
    assert text_of(language, offers=True).startswith(begins)
    assert text_of(language, offers=False) == text_of(language, offers=True).split(".")[0] + "."
    assert says_nothing(text_of("fr", offers=False))
