"""Literals mean themselves to a real Milvus, whatever is in them."""

import uuid

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymilvus import DataType, MilvusClient

from services.common.index import literal

# What Milvus reads of a literal; it knows no escape for the others, which match nothing.
WRITABLE = st.text(st.characters(exclude_categories=("Cc", "Cs"), include_characters="\x7f\x85"), max_size=60)
HOSTILE = [
    '"',
    "\\",
    '\\"',
    "'",
    "\\u0041",
    "\\n",
    '"]) or true or (name in ["',
    '" or name != "',
    "%",
    "_",
    "{x}",
    "$meta",
    "true",
    "null",
    "",
    " ",
    "/* */ -- ;",
    "é",
    "e\u0301",
    "日本語",
    "עברית",
    "👩‍👩‍👧",
    "\u2028",
    "\u202e",
    "\ufeff",
    "\uffff",
    "\x7f",
    "x" * 1000,
]


@pytest.fixture(scope="module")
def milvus(milvus_uri):
    client = MilvusClient(milvus_uri)
    name = f"literals_{uuid.uuid4().hex}"
    schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("id", DataType.VARCHAR, max_length=64, is_primary=True)
    schema.add_field("name", DataType.VARCHAR, max_length=8000)
    schema.add_field("dense", DataType.FLOAT_VECTOR, dim=2)
    indexes = client.prepare_index_params()
    indexes.add_index("dense", index_type="FLAT", metric_type="COSINE")
    client.create_collection(name, schema=schema, index_params=indexes, timeout=10)
    rows = [{"id": f"h{number}", "name": text, "dense": [1, 0]} for number, text in enumerate(HOSTILE)]
    client.upsert(name, rows, timeout=10)
    yield client, name
    client.drop_collection(name, timeout=10)
    client.close()


def found(milvus, condition):
    client, name = milvus
    return {row["id"] for row in client.query(name, filter=condition, output_fields=["id"], timeout=5)}


def test_every_hostile_string_finds_itself_only(milvus):
    for number, text in enumerate(HOSTILE):
        assert found(milvus, f"name == {literal(text)}") == {f"h{number}"}
        assert found(milvus, f"name in {literal([text, 'nobody has this'])}") == {f"h{number}"}


@given(WRITABLE)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_string_finds_what_has_it_and_nothing_else(milvus, text):
    client, name = milvus
    client.upsert(name, [{"id": "drawn", "name": text, "dense": [1, 0]}], timeout=5)
    expected = {"drawn"} | {f"h{number}" for number, one in enumerate(HOSTILE) if one == text}
    assert found(milvus, f"name == {literal(text)}") == expected


@pytest.mark.parametrize("character", ["\n", "\r", "\t", "\x00", "\x01", "\x1b"])
def test_a_control_character_finds_nothing_rather_than_something_else(milvus, character):
    assert found(milvus, f"name == {literal(character)}") == set()
    escape = character + '" or name != "'
    assert found(milvus, f"name == {literal(escape)}") == set()
