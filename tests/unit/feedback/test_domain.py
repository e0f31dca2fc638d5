"""What is an opinion, a page's position, and a number of turns."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.pages import InvalidPage, token_of
from services.feedback.domain import (
    MAX_TEXT_CHARS,
    InvalidMaxTurns,
    InvalidRating,
    Position,
    Thumb,
    opinion_of,
    position_of,
    turns_of,
)


def test_a_rating_without_a_thumb_is_refused():
    with pytest.raises(InvalidRating):
        opinion_of(None, "good", "")


@pytest.mark.parametrize("field", ["comment", "correction"])
def test_a_text_may_be_as_long_as_the_limit_and_no_longer(field):
    texts = {"comment": "", "correction": ""}
    opinion = opinion_of(Thumb.UP, **texts | {field: "é" * MAX_TEXT_CHARS})
    assert len(getattr(opinion, field)) == MAX_TEXT_CHARS
    with pytest.raises(InvalidRating) as refused:
        opinion_of(Thumb.UP, **texts | {field: "é" * (MAX_TEXT_CHARS + 1)})
    assert refused.value.facts["field"] == field


def test_control_characters_do_not_reach_the_store():
    assert opinion_of(Thumb.DOWN, " a\0b\x1b\n", "c\td").comment == "ab"
    assert opinion_of(Thumb.DOWN, "", "c\td").correction == "c\td"


@given(st.datetimes(timezones=st.just(UTC)), st.text(alphabet=st.characters(codec="ascii", exclude_characters="\0")))
def test_a_position_survives_its_token(at, object_id):
    assert position_of(Position(at, object_id).token()) == Position(at, object_id)


def test_no_token_is_the_first_page():
    assert position_of("") is None


@pytest.mark.parametrize(
    "token",
    [
        "%%%",
        "é",
        token_of("yesterday 5f"),
        token_of("2026-11-22T10:00:00 naive"),
        token_of("0001-01-01T00:00:00+14:00 5f"),
        token_of(f"{datetime(2026, 11, 22, tzinfo=UTC).isoformat()} \0"),
    ],
)
def test_a_token_that_no_answer_carried_is_refused(token):
    with pytest.raises(InvalidPage):
        position_of(token)


@given(st.text())
def test_any_token_is_read_or_refused(token):
    try:
        position = position_of(token)
    except InvalidPage:
        return
    assert position is None or position.at.tzinfo is not None


@pytest.mark.parametrize(("asked", "given_"), [(0, 10), (1, 1), (100, 100), (101, 100), (2**31 - 1, 100)])
def test_turns_have_a_default_and_a_limit(asked, given_):
    assert turns_of(asked) == given_


def test_negative_turns_are_refused():
    with pytest.raises(InvalidMaxTurns):
        turns_of(-1)
