"""Queries are cleaned and checked; hits become passages without repeats or old versions."""

import math
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.retrieve.domain.passages import passages_of
from services.retrieve.domain.query import (
    EmptyQuery,
    Filter,
    InvalidFilter,
    InvalidTopK,
    QueryTooLong,
    query_of,
)
from tests.unit.retrieve.rows import hit


def test_a_query_is_cleaned_of_control_characters():
    assert query_of(" what\x00 is\x1b this?\n", 3, Filter()).text == "what is this?"


@pytest.mark.parametrize("text", ["", "   ", "\x00\x01\x02", "\n\t\n", "\x7f\x85"])
def test_a_query_of_nothing_is_refused(text):
    with pytest.raises(EmptyQuery):
        query_of(text, 0, Filter())


def test_the_longest_query_has_8000_characters():
    assert len(query_of("語" * 8000, 0, Filter()).text) == 8000
    assert query_of("x" * 8000 + "\x00" * 1000, 0, Filter()).text == "x" * 8000
    for count in (8001, 100_000, 10_000_000):
        with pytest.raises(QueryTooLong):
            query_of("x" * count, 0, Filter())


@pytest.mark.parametrize("text", ["ما هي سياسة الإرجاع؟", "返品について", "वापसी नीति", "👩‍👩‍👧", "می‌خواهم"])
def test_a_query_in_any_script_stays_as_it_is(text):
    assert query_of(text, 0, Filter()).text == text


@pytest.mark.parametrize(("asked", "given"), [(0, 8), (1, 1), (100, 100), (101, 100), (2**31 - 1, 100)])
def test_top_k_has_a_default_and_is_clipped(asked, given):
    assert query_of("x", asked, Filter()).top_k == given


@pytest.mark.parametrize("top_k", [-1, -(2**31)])
def test_a_negative_top_k_is_refused(top_k):
    with pytest.raises(InvalidTopK):
        query_of("x", top_k, Filter())


@pytest.mark.parametrize(
    "facts",
    [
        {"sources": ("s",) * 101},
        {"metadata": {str(number): "x" for number in range(21)}},
        {"metadata": {"": "x"}},
        {"metadata": {"a\nb": "x"}},
        {"metadata": {"a": "x\x00"}},
        {"metadata": {"a": math.nan}},
        {"metadata": {"a": -math.inf}},
        {"metadata": {"a": "x" * 8001}},
        {"sources": ("a\tb",)},
    ],
)
def test_a_filter_that_nothing_can_match_is_refused(facts):
    with pytest.raises(InvalidFilter):
        Filter(**facts)


def test_a_filter_at_its_limits_is_taken():
    metadata = {str(number): "x" * 8000 for number in range(20)}
    assert len(Filter(sources=("s",) * 100, metadata=metadata).sources) == 100


def test_neighbours_become_one_passage():
    (passage,) = passages_of([hit("d", 2, 0.9, text="two"), hit("d", 1, 0.5, text="one", start_offset=17)], 5)
    assert passage.text == "one" + "two"
    assert (passage.first.ordinal, passage.best.ordinal) == (1, 2)
    assert (passage.first.start_offset, passage.end_offset) == (17, 23)


def test_neighbours_of_different_documents_stay_apart():
    assert len(passages_of([hit("a", 1, 0.9), hit("b", 2, 0.5)], 5)) == 2


def test_chunks_with_another_between_them_stay_apart():
    assert len(passages_of([hit("d", 1, 0.9), hit("d", 3, 0.5)], 5)) == 2


def test_a_blank_between_neighbours_is_put_back_as_a_line_or_a_paragraph():
    for gap, between in [(0, ""), (1, "\n"), (2, "\n\n"), (9, "\n\n")]:
        first, second = hit("d", 0, 0.9, text="one"), hit("d", 1, 0.5, text="two", start_offset=3 + gap)
        assert passages_of([first, second], 5)[0].text == f"one{between}two"


def test_a_table_s_repeated_header_is_not_repeated_within_a_passage():
    first = hit("d", 0, 0.9, text="h\na\nb")
    second = hit("d", 1, 0.5, text="h\nc\nd", start_offset=6, end_offset=9)
    assert passages_of([first, second], 5)[0].text == "h\na\nb\nc\nd"
    assert passages_of([second], 5)[0].text == "h\nc\nd"


def test_a_chunk_inside_another_adds_nothing():
    outer, inner = hit("d", 0, 0.9, text="abcdef"), hit("d", 1, 0.5, text="cd", start_offset=2)
    (passage,) = passages_of([outer, inner], 5)
    assert (passage.text, passage.end_offset) == ("abcdef", 6)


def test_only_the_newer_of_two_versions_is_kept():
    hits = [hit("d", 0, 0.9, version=1), hit("d", 4, 0.8, version=2), hit("e", 0, 0.7, version=1)]
    assert [(one.first.document_id, one.first.version) for one in passages_of(hits, 5)] == [("d", 2), ("e", 1)]


def test_a_worse_hit_that_is_not_needed_makes_no_passage_longer():
    hits = [hit("a", 0, 0.9), hit("b", 0, 0.8), hit("a", 1, 0.1)]
    assert [one.text for one in passages_of(hits, 2)] == ["x" * 10, "x" * 10]


def test_a_hit_after_the_needed_ones_fills_the_place_of_merged_neighbours():
    hits = [hit("a", 0, 0.9), hit("a", 1, 0.8), hit("b", 0, 0.7), hit("c", 0, 0.6)]
    assert [one.first.document_id for one in passages_of(hits, 2)] == ["a", "b"]


def test_no_hits_are_no_passages():
    assert passages_of([], 8) == []


@st.composite
def hits_of_documents(draw):
    """Chunks of documents as a chunker cuts them, with overlap, a random choice of them hit."""
    hits = []
    for document in draw(st.lists(st.sampled_from("abcd"), unique=True)):
        source = draw(st.text(min_size=1, max_size=200))
        length = draw(st.integers(1, 50))
        step = draw(st.integers(1, length))
        for version in draw(st.sets(st.integers(1, 3), min_size=1)):
            for ordinal, start in enumerate(range(0, len(source), step)):
                if draw(st.booleans()):
                    text = source[start : start + length]
                    hits.append(hit(document, ordinal, text=text, start_offset=start, version=version))
    shuffled = draw(st.permutations(hits))
    scored = [replace(one, score=1 / (rank + 1)) for rank, one in enumerate(shuffled)]
    return scored, draw(st.integers(1, 12))


@given(hits_of_documents())
def test_passages_keep_every_promise(drawn):
    hits, top_k = drawn
    passages = passages_of(hits, top_k)
    newest = {one.document_id: max(x.version for x in hits if x.document_id == one.document_id) for one in hits}
    scores = [passage.best.score for passage in passages]
    assert len(passages) <= top_k
    assert scores == sorted(scores, reverse=True)
    assert all(passage.first.version == newest[passage.first.document_id] for passage in passages)
    if hits:
        best_current = next(one for one in hits if one.version == newest[one.document_id])
        assert passages[0].best == best_current


@given(hits_of_documents())
def test_every_current_hit_is_in_one_passage_when_all_are_wanted(drawn):
    hits, _ = drawn
    passages = passages_of(hits, 10_000)
    newest = {one.document_id: max(x.version for x in hits if x.document_id == one.document_id) for one in hits}
    for one in (one for one in hits if one.version == newest[one.document_id]):
        holders = [
            passage
            for passage in passages
            if passage.first.document_id == one.document_id
            and passage.first.start_offset <= one.start_offset
            and one.end_offset <= passage.end_offset
        ]
        assert len(holders) == 1
        offset = one.start_offset - holders[0].first.start_offset
        assert holders[0].text[offset : offset + len(one.text)] == one.text


@given(hits_of_documents())
def test_a_passage_is_as_long_as_its_offsets_say(drawn):
    hits, top_k = drawn
    for passage in passages_of(hits, top_k):
        assert len(passage.text) == passage.end_offset - passage.first.start_offset


@given(hits_of_documents())
def test_no_two_passages_overlap(drawn):
    hits, top_k = drawn
    by_document = Counter()
    for passage in passages_of(hits, top_k):
        for position in range(passage.first.start_offset, passage.end_offset):
            by_document[passage.first.document_id, position] += 1
    assert all(count == 1 for count in by_document.values())
