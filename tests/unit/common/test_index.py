"""Collections are named apart, and literals hold no way out."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.index import (
    SCHEMA_VERSION,
    collection_of,
    former_collections_of,
    is_collection_of,
    literal,
    schema_of,
)


@given(st.text(), st.text())
def test_a_collection_s_name_is_one_that_milvus_takes(tenant_id, model):
    name = collection_of(tenant_id, model)
    assert re.fullmatch(r"t_[A-Za-z0-9_]+", name, flags=re.ASCII)
    assert len(name) < 255


@given(st.text(), st.text(), st.text(), st.text())
def test_another_tenant_or_model_has_another_collection(tenant_id, model, other_tenant, other_model):
    same = (tenant_id, model) == (other_tenant, other_model)
    assert (collection_of(tenant_id, model) == collection_of(other_tenant, other_model)) == same


def test_an_older_schema_s_collections_have_other_names():
    former = former_collections_of("acme", "all-MiniLM-L6-v2")
    assert len({*former, collection_of("acme", "all-MiniLM-L6-v2")}) == SCHEMA_VERSION


@given(st.text(), st.text(), st.text())
def test_a_collection_is_told_as_its_tenant_s_and_as_nobody_else_s(tenant_id, config, other_tenant):
    name = collection_of(tenant_id, config)
    assert is_collection_of(tenant_id, name)
    assert is_collection_of(other_tenant, name) == (other_tenant == tenant_id)


def test_a_tenant_named_like_another_s_collections_has_none_of_them():
    name = collection_of("a", "minilm")
    imitator = name.removeprefix("t_").rpartition("_")[0]
    for other in (imitator, f"{imitator}_", f"{imitator}_x", name.removeprefix("t_")):
        assert not is_collection_of("a", collection_of(other, "minilm"))
        assert not is_collection_of(other, name)


def test_a_collection_keeps_its_name():
    assert collection_of("acme", "all-MiniLM-L6-v2") == collection_of("acme", "all-MiniLM-L6-v2")


@pytest.mark.parametrize("text", ['"', "\\", '\\"', '"]) or true', "é", "日本語", "\u2028", "'"])
def test_a_literal_s_quotes_are_its_first_and_last_characters(text):
    inner = literal(text)[1:-1]
    assert not re.search(r'(?<!\\)(?:\\\\)*"', inner)
    assert json.loads(literal(text)) == text


def test_a_literal_keeps_what_is_not_ascii():
    assert literal("é日本") == '"é日本"'


@pytest.mark.parametrize(
    ("value", "expected"), [(True, "true"), (3, "3"), (3.5, "3.5"), (["a", 'b"'], '["a", "b\\""]'), ([], "[]")]
)
def test_values_that_are_no_text_are_literals_too(value, expected):
    assert literal(value) == expected


def test_the_schema_is_of_the_model_s_dimensions():
    fields = {field.name: field for field in schema_of(384).fields}
    assert fields["dense"].params["dim"] == 384
    assert fields["id"].is_primary
