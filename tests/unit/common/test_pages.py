"""Page sizes are clipped, and tokens come back as they were given or not at all."""

import contextlib
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.pages import InvalidPage, key_of, moment_of, page_size_of, token_of


@pytest.mark.parametrize(("asked", "given"), [(0, 50), (1, 1), (500, 500), (501, 500), (2**31 - 1, 500)])
def test_a_page_size_has_a_default_and_is_clipped(asked, given):
    assert page_size_of(asked) == given


@pytest.mark.parametrize("asked", [-1, -(2**31)])
def test_a_negative_page_size_is_refused(asked):
    with pytest.raises(InvalidPage):
        page_size_of(asked)


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0")))
def test_a_key_comes_back_from_its_token(key):
    assert key_of(token_of(key)) == key


def test_no_token_is_the_first_page():
    assert key_of("") == ""


@pytest.mark.parametrize("token", ["é", "a", "a b", "=", "!!!!", "____", "\ud800", "gICA", "AA=="])
def test_a_token_of_nobody_s_is_refused(token):
    with pytest.raises(InvalidPage):
        key_of(token)


@given(st.text())
def test_any_token_gives_a_key_or_is_refused(token):
    with contextlib.suppress(InvalidPage):
        assert isinstance(key_of(token), str)


def test_a_moment_is_read_whatever_its_zone_is():
    assert moment_of("2026-11-22T10:00:00+02:00") == datetime(2026, 11, 22, 8, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    ["", "yesterday", "2026-11-22T10:00:00", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"],
)
def test_a_moment_that_no_clock_has_shown_in_utc_is_refused(text):
    with pytest.raises(InvalidPage):
        moment_of(text)
