"""A configuration of an index is whole, or refused; equal ones have one digest."""

import json
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from services.common.index_config import IndexConfig, InvalidIndexConfig, Languages

CONFIG = IndexConfig("minilm", ("en", "fr"), 220, 30, {"ticket": "fixed"})
VALUES = json.loads(CONFIG.to_json())


def test_a_configuration_is_read_back_from_its_json():
    assert IndexConfig.from_json(CONFIG.to_json()) == CONFIG


def test_the_digest_is_that_of_what_is_said_and_not_of_its_order():
    assert re.fullmatch("[0-9a-f]{16}", CONFIG.digest())
    assert replace(CONFIG, languages=("fr", "en")).digest() == CONFIG.digest()
    assert replace(CONFIG, languages=("fr",)).digest() != CONFIG.digest()
    assert replace(CONFIG, chunk_tokens=219).digest() != CONFIG.digest()
    assert replace(CONFIG, strategies={}).digest() != CONFIG.digest()


def test_a_kind_is_cut_as_it_is_said_or_as_is_usual():
    assert CONFIG.strategy_of("ticket") == "fixed"
    assert CONFIG.strategy_of("chat") == "turns"


@pytest.mark.parametrize(
    "wrong",
    [
        {"model": ""},
        {"languages": []},
        {"languages": ["en", "en"]},
        {"languages": ["tlh"]},
        {"languages": "en"},
        {"languages": [["en"]]},
        {"chunk_tokens": 31},
        {"chunk_tokens": 8193},
        {"chunk_tokens": "220"},
        {"overlap_tokens": -1},
        {"overlap_tokens": 220},
        {"strategies": {"poem": "text"}},
        {"strategies": {"text": "magic"}},
        {"strategies": ["text"]},
        {"more": 1},
    ],
)
def test_what_cannot_be_made_is_refused(wrong):
    with pytest.raises(InvalidIndexConfig):
        IndexConfig.from_json(json.dumps(VALUES | wrong))


@given(st.text())
def test_text_that_is_no_configuration_is_refused(text):
    with pytest.raises(InvalidIndexConfig):
        IndexConfig.from_json(text)


def test_a_setting_s_languages_are_checked():
    assert TypeAdapter(Languages).validate_python(["en", "de"]) == ("en", "de")
    with pytest.raises(ValidationError):
        TypeAdapter(Languages).validate_python(["en", "en"])
