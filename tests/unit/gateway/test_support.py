"""What of the checks reaches the caller and the record, whatever the texts are."""

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY
from tandem.retrieve.v1.retrieve_service_pb2 import Passage

from services.common.grounding.abstention import Abstention, AbstentionReason
from services.common.grounding.citations import Checked, Given, check
from services.common.grounding.evidence import Evidence
from services.gateway.servicer.support import citations_event, count, given_of, interaction_citations, seen_of

PIECES = [
    "Returns are accepted within 30 days.",
    "| Price | Days |",
    "30",
    "\n",
    "退货。",
    "e\u0301",
    "[2]",
    "n't",
    "\x00",
]
texts = st.one_of(st.text(max_size=120), st.lists(st.sampled_from(PIECES)).map(" ".join))
passages = st.builds(
    lambda text, start, length: Passage(chunk_id="c", text=text, start_offset=start, end_offset=start + length),
    texts,
    st.integers(0, 1000),
    st.integers(0, 300),
)


@given(texts, st.lists(passages, min_size=1, max_size=4), st.data())
def test_no_citation_leaves_its_passage_its_answer_or_what_was_in_the_prompt(answer, there, data):
    indexes = sorted(data.draw(st.sets(st.integers(0, len(there) - 1))))
    shown = [there[index] for index in indexes]
    checked = Checked(check(answer, [given_of(passage) for passage in shown], "When are returns accepted?"))
    citations = citations_event(checked, there, indexes).citations
    for citation in citations.citations:
        passage = there[citation.passage_index]
        assert citation.passage_index in indexes
        assert 0 <= citation.passage_start < citation.passage_end <= len(passage.text)
        assert passage.start_offset <= citation.start_offset <= citation.end_offset <= passage.end_offset
        assert 0 <= citation.answer_start < citation.answer_end <= len(answer)
    for kept in interaction_citations(checked, shown):
        assert shown[kept.passage_index].start_offset <= kept.start_offset <= shown[kept.passage_index].end_offset
    assert len(citations.citations) + len(citations.unsupported) == citations.sentences
    assert 0 <= citations.supported_share <= 1


def test_a_passage_is_compared_by_words_unless_both_languages_are_known_and_differ():
    french = Passage(text="Retours sous 30 jours.", language="fr")
    assert seen_of(french, "fr").comparable
    assert seen_of(french, "").comparable
    assert seen_of(Passage(text="x"), "en").comparable
    assert not seen_of(french, "en").comparable


def test_what_the_alerts_watch_is_counted():
    passage = Given("Returns are accepted within 30 days.")
    half = Checked(check("Returns are accepted within 30 days. The moon is green cheese.", [passage]))
    silent = Checked(check("", [passage]), failure="away")
    names = (
        ("tandem_citations_total", {}),
        ("tandem_answer_sentences_total", {"support": "supported"}),
        ("tandem_answer_sentences_total", {"support": "unsupported"}),
        ("tandem_answer_supported_share_count", {}),
        ("tandem_answer_supported_share_sum", {}),
        ("tandem_entailment_failures_total", {}),
        ("tandem_abstentions_total", {"reason": "NO_PASSAGES"}),
    )
    before = [REGISTRY.get_sample_value(*each) or 0 for each in names]
    count(half, None)
    count(silent, Abstention(AbstentionReason.NO_PASSAGES, Evidence(0, ())))
    after = [REGISTRY.get_sample_value(*each) or 0 for each in names]
    assert [now - then for now, then in zip(after, before, strict=True)] == [1, 1, 1, 1, 0.5, 1, 1]
