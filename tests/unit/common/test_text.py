"""Text loses what nobody sees, and nothing that a script needs."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.text import printable


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("", ""),
        ("  a  ", "a"),
        ("a\x00b\x07c\x1b[31m", "abc[31m"),
        ("\x7f\x85\x9f", ""),
        ("one\ntwo\tthree", "one\ntwo\tthree"),
        ("a\r\nb", "a\nb"),
        ("e\u0301", "é"),
        ("a\ud800b", "ab"),
        ("a\uffffb\U0010ffff", "ab"),
        ("a\u0378b", "ab"),
    ],
)
def test_control_characters_and_what_is_none_go(typed, expected):
    assert printable(typed) == expected


@pytest.mark.parametrize(
    "text",
    ["می‌خواهم", "क्‍ष", "👩‍👩‍👧‍👦", "שלום", "สวัสดี", "日本語", "Ωμέγα", "\u200fעברית\u200f", "𝕌𝕟𝕚"],  # noqa: RUF001 - scripts are what it is about
)
def test_every_script_keeps_its_characters(text):
    assert printable(text) == text


@given(st.text())
def test_cleaning_twice_is_cleaning_once(text):
    assert printable(printable(text)) == printable(text)


@given(st.text(st.characters(codec=None)))
def test_clean_text_can_always_be_sent_and_holds_no_control_character(text):
    cleaned = printable(text)
    assert cleaned.encode("utf-8").decode("utf-8") == cleaned
    assert all(one in "\n\t" or unicodedata.category(one) not in {"Cc", "Cs", "Cn"} for one in cleaned)
    assert cleaned == cleaned.strip()
