"""Scores of two legs become one, by what is evident of the query."""

import pytest

from services.retrieve.domain.function_words import telling
from services.retrieve.domain.fusion import (
    EXACT_SHARE,
    READ_SHARE,
    UNREAD_SHARE,
    Reading,
    dense_share_of,
    fused,
    language_by_words,
)
from services.retrieve.domain.pairs import pair_scores
from tests.unit.retrieve.rows import hit

ENGLISH = Reading("en", ("en",))


def test_a_language_that_the_model_does_not_read_is_left_to_words():
    assert dense_share_of("how do I return it", ENGLISH) == READ_SHARE
    assert dense_share_of("comment le rendre", Reading("fr", ("en",))) == UNREAD_SHARE
    assert dense_share_of("comment le rendre", Reading("fr", ("en", "fr"))) == READ_SHARE
    assert dense_share_of("ok", Reading("", ("en",))) == READ_SHARE


@pytest.mark.parametrize(
    "query", ['where is "the blue form"', "« bon de retour »", "RMA-2041", "ERR_TIMEOUT", "10.2.0.7"]
)
def test_what_is_quoted_or_an_identifier_is_left_to_words(query):
    assert dense_share_of(query, ENGLISH) == EXACT_SHARE


@pytest.mark.parametrize(
    "query", ["Which film came first in the 1982 festival of Rome", "well-known issues", "state-of-the-art"]
)
def test_a_number_in_a_sentence_is_one_word_of_many(query):
    assert dense_share_of(query, ENGLISH) == READ_SHARE


def test_how_much_better_a_hit_is_counts_and_not_its_rank_alone():
    hits = [
        hit("sure", 0, similarity=0.2, bm25=20.0),
        hit("near", 0, similarity=0.25, bm25=1.0),
        hit("far", 0, similarity=0.1, bm25=0.5),
    ]
    assert [one.document_id for one in fused(hits, ["a"], 0.5)] == ["sure", "near", "far"]


def test_scores_are_shares_of_the_best_of_each_leg():
    best, half = fused([hit("a", 0, similarity=0.8, bm25=10.0), hit("b", 0, similarity=0.4, bm25=5.0)], ["z"], 0.3)
    assert (best.score, half.score) == (pytest.approx(1), pytest.approx(0.5))


def test_where_one_leg_found_nothing_the_other_decides_alone():
    words = [hit("a", 0, similarity=0.0, bm25=2.0), hit("b", 0, similarity=-0.3, bm25=1.0)]
    assert [one.score for one in fused(words, ["z"], 0.9)] == [1.0, 0.5]
    meaning = [hit("a", 0, similarity=0.5, bm25=0.0), hit("b", 0, similarity=0.6, bm25=None)]
    assert [one.document_id for one in fused(meaning, ["z"], 0.1)] == ["b", "a"]


def test_what_a_leg_did_not_find_it_says_nothing_for():
    hits = [hit("a", 0, similarity=0.5, bm25=4.0), hit("b", 0, similarity=0.5), hit("c", 0, bm25=2.0)]
    assert [(one.document_id, one.score) for one in fused(hits, ["z"], 0.6)] == [("a", 1.0), ("b", 0.6), ("c", 0.2)]


def test_a_query_too_short_to_tell_is_in_the_language_of_the_passages_with_its_words():
    french = [hit(f"f{n}", 0, language="fr", bm25=2.0) for n in range(7)]
    english = [hit(f"e{n}", 0, language="en", bm25=1.0) for n in range(20)]
    near = [hit(f"n{n}", 0, language="en", similarity=0.9) for n in range(20)]
    assert language_by_words([*english, *near, *french]) == "fr"
    assert language_by_words(near) == ""
    assert language_by_words([hit("a", 0, bm25=1.0)]) == ""


def test_function_words_are_not_searched_for_unless_there_is_nothing_else():
    assert telling(["what", "is", "the", "warranti", "of", "it"], "en") == ("warranti",)
    assert telling(["quel", "est", "le", "delai"], "fr") == ("delai",)
    assert telling(["to", "be", "or", "not", "to", "be"], "en") == ("to", "be", "or", "not", "to", "be")
    assert telling(["was", "ist", "das"], "de") == ("was", "ist", "das")
    assert telling(["is", "est"], "") == ("is", "est")


def test_hits_that_are_alike_come_in_the_same_order_every_time():
    hits = [hit(name, 0, similarity=0.5, bm25=1.0) for name in "cab"]
    assert [one.document_id for one in fused(hits, ["z"], 0.5)] == ["a", "b", "c"]
    assert fused(hits, ["z"], 0.5) == fused(hits[::-1], ["z"], 0.5)


def test_nothing_found_is_nothing_fused():
    assert fused([], ["a"], 0.5) == []


def test_a_hit_says_which_share_of_the_querys_stems_it_has():
    (one,) = fused(
        [hit("a", 0, words="free return label", similarity=0.1, bm25=1.0)], ["free", "free", "return", "x"], 0.5
    )
    assert one.words_share == pytest.approx(2 / 3)
    (none,) = fused([hit("a", 0, similarity=0.1)], [], 0.5)
    assert none.words_share == 0


def test_words_that_stand_together_as_in_the_query_count_more():
    together, apart, reversed_, none = pair_scores(
        ["new", "york", "time"], _split("in new york today", "york is new here", "york new", "other words")
    )
    assert together > 0
    assert (apart, reversed_, none) == (0, 0, 0)


def test_a_pair_that_few_candidates_have_counts_more():
    rare, common = pair_scores(["a", "b", "c"], _split("a b", "b c", "b c", "b c"))[:2]
    assert rare > common


@pytest.mark.parametrize("stems", [[], ["one"], ["same", "same"]])
def test_a_query_without_two_words_has_no_pairs(stems):
    assert pair_scores(stems, _split("one same same", "")) == [0, 0]


def _split(*texts):
    return [text.split() for text in texts]
