"""How much of a question stands in the passages, and from where on that is enough."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.grounding.evidence import Seen, calibrate, evidence_of

RETURNS = Seen("Returns are accepted within 30 days of delivery. Keep the box.", "Returns", 0.0, comparable=True)
SHIPPING = Seen("We ship within 3 business days.", "Shipping", 0.0, comparable=True)


def score(question, *passages):
    return evidence_of(question, passages).score


def test_a_question_whose_words_all_stand_side_by_side_has_all_evidence():
    assert score("Are returns accepted after delivery?", SHIPPING, RETURNS) == 1


def test_a_question_about_something_else_has_none():
    assert score("Who wrote Hamlet?", SHIPPING, RETURNS) == 0
    assert score("Who wrote Hamlet?") == 0


def test_the_nearest_passages_come_first():
    assert evidence_of("When are returns accepted?", [SHIPPING, RETURNS]).nearest == (1, 0)


def test_a_name_counts_twice():
    assert score("Are returns accepted by Moreau?", RETURNS) == 0.5


def test_what_the_embeddings_say_counts_for_about_a_third():
    alike = Seen(RETURNS.text, RETURNS.context, 0.8, comparable=True)
    assert score("Are returns accepted?", alike) == pytest.approx(0.65 + 0.35 * 0.8)


def test_of_another_language_only_the_embeddings_can_tell():
    question = "Jusqu'à quand puis-je rendre un article ?"
    assert score(question, Seen(RETURNS.text, "", 0.7, comparable=False)) == 0.7
    assert score(question, Seen(RETURNS.text, "", 0.0, comparable=False)) == 1


def test_a_question_without_content_words_misses_nothing():
    assert score("And then?", RETURNS) == 1


def test_the_threshold_parts_what_is_there_from_what_is_missing():
    assert calibrate([0.1, 0.2, 0.8, 0.9], [True, True, False, False]) == pytest.approx(0.5)


def test_a_small_beta_refuses_less_and_a_large_one_more():
    scores = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]
    missing = [True, True, False, True, False, True, False, False]
    careful, even, strict = (calibrate(scores, missing, beta) for beta in (0.25, 1, 4))
    assert careful <= even <= strict
    assert careful < strict


@pytest.mark.parametrize(("scores", "missing"), [([], []), ([0.3, 0.9], [False, False])])
def test_where_nothing_was_missing_nothing_is_refused(scores, missing):
    assert calibrate(scores, missing) == 0


@given(st.text(max_size=100), st.lists(st.text(max_size=100), max_size=4))
def test_evidence_is_a_share(question, texts):
    found = evidence_of(question, [Seen(text, "", 0.0, comparable=True) for text in texts])
    assert 0 <= found.score <= 1
    assert sorted(found.nearest) == list(range(len(texts)))
