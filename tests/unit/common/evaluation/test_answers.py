"""Measures of answers against values worked out by hand and SQuAD's own examples."""

import pytest

from services.common.evaluation.answers import Answered, Gold, contains, exact_match, f1, normalised, scores


@pytest.mark.parametrize(
    ("answer", "gold", "language", "same"),
    [
        ("The Denver Broncos!", "denver broncos", "en", True),
        ("Denver Broncos won", "Denver Broncos", "en", False),
        ("L\u2019eau", "l'eau", "fr", True),
        ("une tour", "la tour", "fr", True),
        ("les États-Unis", "États-Unis", "fr", True),
        ("la UN", "UN", "en", False),
        ("14,2 milliards d'euros", "14.2 milliards d'euros", "", True),
    ],
)
def test_case_punctuation_and_the_languages_articles_do_not_count(answer, gold, language, same):
    assert exact_match(answer, gold, language) == same


def test_an_unknown_language_loses_no_words():
    assert normalised("der die das la the", "de") == ["der", "die", "das", "la", "the"]


def test_f1_is_of_words_with_their_number():
    # 2 of 3 words given are wanted, and 2 of 4 wanted are given.
    assert f1("red red blue", "red red green white", "en") == pytest.approx(2 * (2 / 3) * (2 / 4) / (2 / 3 + 2 / 4))
    assert f1("blue", "red", "en") == 0
    assert f1("the", "a", "en") == 1
    assert f1("", "red", "en") == 0


def test_contains_wants_whole_words_in_their_order():
    assert contains("It costs 308 points.", "308", "en") == 1
    assert contains("It costs 1308 points.", "308", "en") == 0
    assert contains("points 308", "308 points", "en") == 0


def test_the_best_of_several_answers_counts():
    parts = scores(Answered("four"), Gold(answers=("4", "four"), language="en"))
    assert parts["exact match"] == (1, 1)


def test_an_abstention_has_no_right_words_and_cites_nothing():
    parts = scores(Answered("I do not know", abstained=True), Gold(("four",), {"d"}))
    assert parts["exact match"] == (0, 1)
    assert parts["F1"] == (0, 1)
    assert parts["citation recall"] == (0, 0)
    assert parts["abstention precision"] == (0, 1)


def test_words_of_an_answer_to_an_unanswerable_question_say_nothing():
    parts = scores(Answered("four"), Gold(("four",), answerable=False))
    assert parts["exact match"] == (0, 0)
    assert parts["abstention recall"] == (0, 1)
    assert parts["abstention F1"] == (0, 1)


def test_citations_are_counted_one_by_one_and_documents_once():
    parts = scores(Answered("x", cited=("a", "a", "z")), Gold(documents={"a", "b"}))
    assert parts["citation precision"] == (2, 3)
    assert parts["citation recall"] == (1, 2)


def test_whatever_is_cited_for_what_has_no_answer_is_wrong():
    parts = scores(Answered("x", cited=("a", "z")), Gold(documents={"a"}, answerable=False))
    assert parts["citation precision"] == (0, 2)
    assert parts["citation recall"] == (0, 0)


def test_without_known_documents_citations_say_nothing():
    parts = scores(Answered("x", cited=("a",)), Gold())
    assert parts["citation precision"] == (0, 0)
    assert parts["citation recall"] == (0, 0)


def test_abstention_is_precise_complete_and_their_mean():
    # Two rightly left, one wrongly left, one wrongly answered: P 2/3, R 2/3, F1 2/3.
    asked = [(True, False), (True, False), (True, True), (False, False), (False, True)]
    parts = [scores(Answered("x", abstained=left), Gold(answerable=able)) for left, able in asked]
    for name in ("abstention precision", "abstention recall", "abstention F1"):
        assert sum(each[name][0] for each in parts) / sum(each[name][1] for each in parts) == pytest.approx(2 / 3)
