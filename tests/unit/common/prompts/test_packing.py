"""Which passages a prompt holds, with words for tokens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.prompts.lengths import AnswerLength
from services.common.prompts.packing import LEAST_OVERLAP, Passage, Piece, chosen
from services.common.prompts.prompt import Draft, PromptPacker
from services.generate.adapters.memory import WordTokenizer


def words(count, word="word"):
    return " ".join(f"{word}{number}" for number in range(count))


def passage(count, word, score=0.0):
    return Passage(word, words(count, word), score)


def encode(_index, one):
    return Piece(one.text, range(len(one.text.split())))


def shown(left, *passages):
    return sorted(chosen(passages, left, encode))


def test_all_that_fit_are_shown():
    assert shown(100, passage(20, "a"), passage(20, "b"), passage(20, "c")) == [0, 1, 2]


def test_a_long_passage_gives_way_to_two_short_ones_that_are_worth_more():
    found = shown(100, passage(40, "a", 1), passage(50, "b", 0.6), passage(20, "c", 0.5), passage(20, "d", 0.4))
    assert found == [0, 2, 3]


def test_a_long_passage_that_is_worth_more_stays():
    found = shown(100, passage(40, "a", 1), passage(50, "b", 0.9), passage(20, "c", 0.2), passage(20, "d", 0.1))
    assert found == [0, 1]


def test_one_that_does_not_fit_does_not_keep_others_out():
    assert shown(100, passage(40, "a", 1), passage(90, "b", 0.9), passage(40, "c", 0.2)) == [0, 2]


def test_without_scores_the_rank_is_the_value():
    assert shown(60, passage(20, "a"), passage(40, "b"), passage(20, "c"), passage(20, "d")) == [0, 2, 3]
    assert shown(45, passage(20, "a"), passage(25, "b"), passage(25, "c")) == [0, 1]


def test_the_best_is_shown_however_long_it_is():
    assert shown(100, passage(95, "a", 0.1), passage(5, "b", 1), passage(5, "c", 1))[0] == 0
    assert shown(100, passage(101, "a", 0.1), passage(5, "b", 1)) == []


def test_what_two_passages_share_is_shown_once():
    tail = words(12, "shared")
    first, second = Passage("t", f"{words(10, 'a')} {tail}"), Passage("t", f"{tail} {words(10, 'b')}")
    for passages in ((first, second), (second, first)):
        pieces = chosen(passages, 100, encode)
        assert "".join(pieces[index].text for index in sorted(pieces)).count("shared3 ") == 1
        assert len(pieces) == 2


def test_a_passage_that_another_holds_whole_is_left_out():
    assert shown(100, Passage("t", words(30)), Passage("t", words(20))) == [0]


def test_a_short_answer_under_another_title_is_no_repetition():
    assert len("Thirty days.") < LEAST_OVERLAP
    assert shown(100, Passage("Returns", "Within. Thirty days."), Passage("Exchange", "Thirty days.")) == [0, 1]


@given(
    st.lists(st.builds(Passage, st.just("t"), st.text("ab ", max_size=200), st.floats(0, 1)), max_size=8),
    st.integers(0, 60),
)
def test_what_is_shown_always_fits_and_holds_the_best(passages, left):
    found = chosen(passages, left, encode)
    assert sum(len(piece.token_ids) for piece in found.values()) <= left
    assert not found or 0 in found


@given(st.lists(st.integers(1, 40), min_size=1, max_size=8), st.integers(0, 120))
def test_it_is_never_worth_less_than_what_rank_alone_would_show(sizes, left):
    passages = [passage(size, chr(97 + index), 1 / (index + 1)) for index, size in enumerate(sizes)]
    by_rank, room = 0.0, left
    for one, size in zip(passages, sizes, strict=True):
        if size > room:
            break
        by_rank, room = by_rank + one.score, room - size
    assert sum(passages[index].score for index in chosen(passages, left, encode)) >= by_rank


def packed(**fields):
    return PromptPacker(WordTokenizer(), 200).pack(Draft("", (), question="Open?", **fields), 50)


def test_a_passage_keeps_its_number_where_others_are_left_out():
    # The example of our own instructions has passages too.
    packer = PromptPacker(WordTokenizer(), 120, "Answer.")
    passages = [passage(20, "a", 1), passage(60, "b", 0.9), passage(20, "c", 0.8), passage(20, "d", 0.7)]
    prompt = packer.pack(Draft("", (), passages, "Open?"), 20)
    assert prompt.passage_indexes == (0, 2, 3)
    assert "<passage 3>\nc\n" in prompt.text
    assert prompt.text.index("<passage 4>") < prompt.text.index("<passage 3>") < prompt.text.index("<passage 1>")
    assert "<passage 2>" not in prompt.text


@pytest.mark.parametrize("length", AnswerLength)
def test_an_answers_length_is_asked_for_in_words(length):
    assert f"answer {length.words}:" in packed(passages=[Passage("t", "x")], length=length).text
    bare = packed(passages=(), length=length).text
    assert (length.words in bare) is (length in {AnswerLength.MEDIUM, AnswerLength.LONG})


def test_a_longer_answer_may_take_more_tokens():
    assert AnswerLength.SHORT.tokens < AnswerLength.MEDIUM.tokens < AnswerLength.LONG.tokens


def test_hostile_overlaps_take_no_time():
    passages = [Passage("t", "a" * 20_000 + str(number)) for number in range(20)]
    assert shown(10**6, *passages)
