"""Measures of ranked lists against values worked out by hand."""

from math import log2

import pytest

from services.common.evaluation.measures import names, retrieval_scores


def test_graded_gains_are_discounted_by_place():
    scores = retrieval_scores({"q": {"a": 3, "b": 1}}, {"q": ["b", "x", "a"]}, 10)
    ideal = 3 + 1 / log2(3)
    assert scores["nDCG@10"]["q"] == pytest.approx((1 + 3 / log2(4)) / ideal)
    assert scores["recall@10"]["q"] == 1
    assert scores["MRR@10"]["q"] == 1
    assert scores["all@10"]["q"] == 1


def test_what_comes_after_k_counts_nothing():
    scores = retrieval_scores({"q": {"a": 1, "b": 1}}, {"q": ["x", "a", "b"]}, 2)
    assert scores["recall@2"]["q"] == 0.5
    assert scores["MRR@2"]["q"] == 0.5
    assert scores["all@2"]["q"] == 0


def test_a_question_that_found_nothing_counts_as_zero():
    scores = retrieval_scores({"q": {"a": 1}, "r": {"b": 1}}, {"r": ["b"]}, 10)
    assert {name: scores[name] for name in names(10)} == {name: {"q": 0.0, "r": 1.0} for name in names(10)}


def test_nothing_found_at_all_is_zero_and_no_error():
    assert retrieval_scores({"q": {"a": 1}}, {}, 10)["nDCG@10"] == {"q": 0.0}


def test_a_document_found_twice_counts_at_its_first_place():
    scores = retrieval_scores({"q": {"a": 1, "b": 1}}, {"q": ["a", "a", "a", "b"]}, 2)
    assert scores["recall@2"]["q"] == 1


def test_the_order_of_the_list_stands_however_long_it_is():
    found = [str(number) for number in range(100)]
    assert retrieval_scores({"q": {"99": 1}}, {"q": found}, 100)["MRR@100"]["q"] == pytest.approx(0.01)
