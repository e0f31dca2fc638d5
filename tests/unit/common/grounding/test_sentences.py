"""Sentences of any script."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.grounding.sentences import sentences_of, spans_of, without_markers


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("It costs 3.50 at www.example.com today.", ["It costs 3.50 at www.example.com today."]),
        ("- first\n- second", ["- first", "- second"]),
        ("1. Open it.", ["1. Open it."]),
        ("他来了。她走了！", ["他来了。", "她走了！"]),  # noqa: RUF001 - as it is typed
        ("هل أنت هنا؟ نعم.", ["هل أنت هنا؟", "نعم."]),
        ("He said “no.” She left.", ["He said “no.”", "She left."]),
        ("  \n ... !!! \n", []),
        ("", []),
    ],
)
def test_a_text_is_split_into_its_sentences(text, sentences):
    assert [text[start:end] for start, end in spans_of(text)] == sentences


@given(st.text())
def test_spans_follow_each_other_and_lose_no_letter(text):
    spans = list(spans_of(text))
    assert all(a_end <= b_start for (_, a_end), (b_start, _) in itertools.pairwise(spans))
    kept = "".join(text[start:end] for start, end in spans)
    assert [char for char in kept if char.isalnum()] == [char for char in text if char.isalnum()]


@given(st.text())
def test_taking_markers_out_moves_nothing(text):
    assert len(without_markers(text)) == len(text)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("orders", "ordered"),
        ("shipping", "shipped"),
        ("policy", "policies"),
        ("Remboursement", "remboursées"),
        ("delivery", "delivered"),
        ("1,000", "1000"),
        ("３０", "30"),  # noqa: RUF001 - as it is typed
        ("No", "pas"),
    ],
)
def test_forms_of_one_word_are_one(one, other):
    (first,), (second,) = sentences_of(one), sentences_of(other)
    assert first.words == second.words
    assert first.words
