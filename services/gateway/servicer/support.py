"""Between protobuf and the domain: passages as what is checked, and what the checks say as events and records."""

from collections.abc import Collection, Sequence

from tandem.feedback.v1.events_pb2 import InteractionCitation, InteractionPassage
from tandem.gateway.v1 import gateway_service_pb2 as pb
from tandem.retrieve.v1.retrieve_service_pb2 import Passage

from services.common.grounding.abstention import Abstention, AbstentionReason
from services.common.grounding.citations import Checked, Given, Reason, Span, Verdict
from services.common.grounding.evidence import Seen
from services.gateway.domain.places import Placed, document_span
from services.gateway.metrics import ABSTENTIONS, CITATIONS, ENTAILMENT_FAILURES, SENTENCES, SUPPORTED_SHARE

_REASONS = {
    Reason.NO_SUPPORT: pb.UNSUPPORTED_REASON_NO_SUPPORT,
    Reason.NUMBER_DIFFERS: pb.UNSUPPORTED_REASON_NUMBER_DIFFERS,
    Reason.NAME_DIFFERS: pb.UNSUPPORTED_REASON_NAME_DIFFERS,
    Reason.NEGATION_DIFFERS: pb.UNSUPPORTED_REASON_NEGATION_DIFFERS,
    Reason.NOT_ENTAILED: pb.UNSUPPORTED_REASON_NOT_ENTAILED,
}
_ABSTENTIONS = {
    AbstentionReason.NO_PASSAGES: pb.ABSTENTION_REASON_NO_PASSAGES,
    AbstentionReason.LITTLE_EVIDENCE: pb.ABSTENTION_REASON_LITTLE_EVIDENCE,
    AbstentionReason.UNSUPPORTED: pb.ABSTENTION_REASON_UNSUPPORTED,
    AbstentionReason.MODEL: pb.ABSTENTION_REASON_MODEL,
}


def given_of(passage: Passage) -> Given:
    """Return a passage as an answer is checked against it."""
    return Given(passage.text, _context_of(passage))


def seen_of(passage: Passage, language: str) -> Seen:
    """Return a passage as evidence for a question in `language`, "" where that is not known."""
    comparable = not (language and passage.language) or language == passage.language
    return Seen(passage.text, _context_of(passage), passage.dense_similarity, comparable)


def citations_event(checked: Checked, passages: Sequence[Passage], indexes: Sequence[int]) -> pb.AskResponse:
    """Return the event that carries an answer's citations, and what of it is unsupported.

    `indexes` are those of the passages in the prompt, among all that the caller was given.
    """
    citations = [
        _citation(number, indexes[span.passage_index], passages[indexes[span.passage_index]], said, span)
        for number, said, span in checked.cited()
    ]
    unsupported = [
        pb.Sentence(answer_start=said.start, answer_end=said.end, reason=_REASONS[said.reason])
        for said in checked.verdicts
        if said.reason
    ]
    return pb.AskResponse(
        citations=pb.Citations(
            citations=citations,
            unsupported=unsupported,
            supported_share=checked.supported_share,
            sentences=len(checked.verdicts),
            check_failure=checked.failure,
        )
    )


def abstained_event(abstention: Abstention) -> pb.AskResponse:
    """Return the event that says that the passages do not tell."""
    abstained = pb.Abstained(
        reason=_ABSTENTIONS[abstention.reason],
        nearest=abstention.nearest,
        evidence=abstention.evidence.score,
        late=abstention.late,
    )
    return pb.AskResponse(abstained=abstained)


def interaction_citations(checked: Checked, passages: Sequence[Passage]) -> list[InteractionCitation]:
    """Return the citations as they are recorded with `passages`, those of the prompt."""
    return [_recorded(passages[span.passage_index], said, span) for _, said, span in checked.cited()]


def interaction_passages(passages: Sequence[Passage], cited: Collection[int]) -> list[InteractionPassage]:
    """Return the passages as they are recorded; `cited` are the indexes of those that the answer cites."""
    return [
        InteractionPassage(
            chunk_id=passage.chunk_id,
            document_id=passage.document_id,
            document_version=passage.document_version,
            score=passage.score,
            title=passage.title,
            cited=index in cited,
        )
        for index, passage in enumerate(passages)
    ]


def count(checked: Checked, abstention: Abstention | None) -> None:
    """Add an answer to the metrics."""
    CITATIONS.inc(checked.supported)
    SENTENCES.labels("supported").inc(checked.supported)
    SENTENCES.labels("unsupported").inc(len(checked.verdicts) - checked.supported)
    if checked.verdicts:
        SUPPORTED_SHARE.observe(checked.supported_share)
    if checked.failure:
        ENTAILMENT_FAILURES.inc()
    if abstention:
        ABSTENTIONS.labels(abstention.reason.value).inc()


def _context_of(passage: Passage) -> str:
    return "\n".join((passage.title, *passage.headings))


def _citation(number: int, index: int, passage: Passage, said: Verdict, span: Span) -> pb.Citation:
    first, last = _document_span(passage, span)
    return pb.Citation(
        number=number,
        passage_index=index,
        answer_start=said.start,
        answer_end=said.end,
        passage_start=span.start,
        passage_end=span.end,
        support=span.support,
        chunk_id=passage.chunk_id,
        document_id=passage.document_id,
        document_version=passage.document_version,
        start_offset=first,
        end_offset=last,
    )


def _recorded(passage: Passage, said: Verdict, span: Span) -> InteractionCitation:
    first, last = _document_span(passage, span)
    return InteractionCitation(
        passage_index=span.passage_index,
        answer_start=said.start,
        answer_end=said.end,
        start_offset=first,
        end_offset=last,
        support=span.support,
    )


def _document_span(passage: Passage, span: Span) -> tuple[int, int]:
    placed = Placed(len(passage.text), passage.start_offset, passage.end_offset)
    return document_span(placed, span.start, span.end)
