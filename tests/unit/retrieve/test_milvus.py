"""Milvus' filter expressions, word by word."""

from services.retrieve.adapters.filters import chunks_of, filter_of, sections_of
from services.retrieve.domain.hits import Section
from services.retrieve.domain.query import Filter


def test_the_readers_are_always_asked_for():
    assert filter_of(("everyone", "user:ada"), Filter()) == 'ARRAY_CONTAINS_ANY(readers, ["everyone", "user:ada"])'


def test_every_filter_is_a_clause():
    wanted = Filter(("a",), ("mail",), ("Ada",), 5, 9, {"lang": "fr", "n": 3.0, "ok": True})
    assert filter_of(("p",), wanted).split(" and ") == [
        'ARRAY_CONTAINS_ANY(readers, ["p"])',
        '(source_id in ["a"] or source_name in ["a"])',
        'kind in ["mail"]',
        'author in ["Ada"]',
        "changed_at >= 5",
        "changed_at < 9",
        'metadata["lang"] == "fr"',
        'metadata["n"] == 3.0',
        'metadata["ok"] == true',
    ]


def test_a_time_of_zero_is_a_time():
    assert filter_of(("p",), Filter(changed_after_ms=0)).endswith(" and changed_at >= 0")


def test_a_quote_cannot_end_a_literal():
    assert filter_of(('"]) or true or (["',), Filter()) == r'ARRAY_CONTAINS_ANY(readers, ["\"]) or true or ([\""])'


def test_chunks_and_sections_are_asked_for_with_their_readers():
    readers = 'ARRAY_CONTAINS_ANY(readers, ["p"])'
    assert chunks_of(("p",), ("c1", 'c"2')) == readers + r' and id in ["c1", "c\"2"]'
    assert sections_of(("p",), (Section("d", 3, 0, 2),)) == (
        readers + ' and ((document_id == "d" and version == 3 and ordinal >= 0 and ordinal <= 2))'
    )
