"""What is learnt from: checked, split without a question in two parts, with the hardest passages beside the right."""

import pytest

from services.tune.domain.data import (
    MAX_QUERIES,
    Candidate,
    Mined,
    Positive,
    Question,
    check_questions,
    digest_of,
    merged,
    pairs_of,
    split,
)
from services.tune.domain.errors import InvalidTrainingSet, TooLittleData


def question(number: int, *positives: Positive, **more: frozenset[str]) -> Question:
    return Question(f"question {number}", positives or (Positive(f"d{number}"),), **more)


def candidate(document_id: str, text: str = "", score: float = 1.0) -> Candidate:
    return Candidate(f"{document_id}/0", document_id, text or f"text of {document_id}", score)


def mined(number: int, *others: str) -> Mined:
    found = [candidate(each) for each in (f"d{number}", *(others or ("x", "y", "z")))]
    return Mined(question(number), tuple(found))


@pytest.mark.parametrize(
    "bad",
    [
        [],
        [Question("", (Positive("d"),))],
        [Question("  ", (Positive("d"),))],
        [Question("q" * 8001, (Positive("d"),))],
        [Question("q", ())],
        [Question("q", (Positive("", " "),))],
        [Question("q", (Positive("d" * 201),))],
        [Question("q", (Positive("", "t" * 100_001),))],
        [Question("q\0", (Positive("d"),))],
        [Question("q", (Positive("d"),) * 101)],
        [Question("What  is it?", (Positive("d"),)), Question("what is IT?", (Positive("e"),))],
        [question(number) for number in range(MAX_QUERIES + 1)],
    ],
)
def test_a_set_that_cannot_be_learnt_is_refused(bad: list[Question]):
    with pytest.raises(InvalidTrainingSet):
        check_questions(bad)


def test_a_refusal_names_the_question_by_its_place_and_shows_no_text():
    with pytest.raises(InvalidTrainingSet) as refused:
        check_questions([question(0), Question("secret " * 2000, (Positive("d"),))])
    assert refused.value.facts == {"question": "1"}
    assert "secret" not in str(refused.value)


def test_no_question_is_in_two_parts_and_all_are_in_one():
    parts = split([mined(number) for number in range(100)], seed=1)
    texts = [{each.question.text for each in part} for part in (parts.trained, parts.tuned, parts.held_out)]
    assert [len(part) for part in texts] == [60, 15, 25]
    assert len(set.union(*texts)) == 100


def test_a_split_depends_on_the_seed_and_not_on_the_order():
    some = [mined(number) for number in range(100)]
    assert split(some, 1) == split(some[::-1], 1)
    assert split(some, 1) != split(some, 2)


def test_questions_of_which_nothing_is_known_or_found_are_left_out():
    bare = [
        Mined(Question(f"bare {number}", (Positive("", "nothing like it"),)), (candidate("x"),)) for number in range(9)
    ]
    empty = [Mined(question(number + 1000), ()) for number in range(9)]
    parts = split([*(mined(number) for number in range(100)), *bare, *empty], 1)
    assert len(parts.trained) == 60


def test_too_few_questions_are_refused():
    with pytest.raises(TooLittleData):
        split([mined(number) for number in range(15)], 1)


def test_what_answers_stands_beside_five_that_do_not():
    others = [f"x{number}" for number in range(20)]
    pairs = pairs_of([mined(1, *others)], seed=3)
    assert [pair.text for pair in pairs if pair.answers] == ["text of d1"]
    wrong = [pair.text for pair in pairs if not pair.answers]
    assert len(wrong) == len(set(wrong)) == 5
    assert pairs_of([mined(1, *others)], seed=3) == pairs


def test_what_people_found_wrong_goes_first():
    others = [f"x{number}" for number in range(20)]
    known = Mined(question(1, wrong_chunks=frozenset({"x7/0", "x19/0"})), mined(1, *others).candidates)
    wrong = {pair.text for pair in pairs_of([known], seed=3) if not pair.answers}
    assert {"text of x7", "text of x19"} <= wrong


def test_a_positive_that_no_search_finds_is_learnt_by_its_text():
    hidden = Mined(question(1, Positive("far", "the hidden answer")), (candidate("x"), candidate("y")))
    assert {(pair.text, pair.answers) for pair in pairs_of([hidden], 1)} == {
        ("the hidden answer", True),
        ("text of x", False),
        ("text of y", False),
    }


def test_a_text_without_a_document_is_found_in_what_holds_it():
    told = Question("q", (Positive("", "E4 means  HEAT."),))
    found = Mined(told, (candidate("a", "Errors\nE4 means heat. Let it cool."), candidate("b", "E5 means cold.")))
    assert found.right_documents() == {"a"}


def test_where_everything_answers_nothing_is_learnt():
    with pytest.raises(TooLittleData):
        pairs_of([Mined(question(1), (candidate("d1"),))], 1)


def test_what_several_people_say_of_a_question_is_put_together():
    [both] = merged(
        [
            Question("How?", (Positive("a"),), people=frozenset({"user:ada"})),
            Question("how? ", (), frozenset({"c"}), frozenset({"user:bob"})),
        ]
    )
    assert both == Question("How?", (Positive("a"),), frozenset({"c"}), frozenset({"user:ada", "user:bob"}))


def test_a_digest_is_of_what_is_learnt_in_whatever_order():
    some = [mined(number) for number in range(5)]
    assert digest_of(some) == digest_of(some[::-1])
    assert digest_of(some) != digest_of(some[:4])
