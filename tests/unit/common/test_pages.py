"""Page sizes are clipped, and tokens come back as they were given or not at all."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.pages import InvalidPage, key_of, page_size_of, token_of


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
