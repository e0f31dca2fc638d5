"""Documents are cut by their kind: turns, slides, tables and definitions stay whole, and nothing is lost."""

from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.common.index_config import STRATEGIES as NAMES
from services.common.index_config import IndexConfig
from services.embed.adapters.memory import WordTokens
from services.embed.chunking.chunker import Chunker, ChunkLimits
from services.embed.chunking.documents import DocumentChunker
from services.embed.chunking.strategies import STRATEGIES
from services.embed.domain import Change, Chunking, Page, ParsedDocument

LONG = 40
BY_KIND = Chunking()


def cut(text, strategy, *, overlap=0, pages=(), title=""):
    chunker = Chunker(WordTokens(), ChunkLimits(LONG, overlap))
    return chunker.chunk(ParsedDocument(text, title, pages), title, STRATEGIES[strategy])


def texts(chunks):
    return [chunk.text for chunk in chunks]


def words(count, word="word"):
    return " ".join([word] * count)


def documents_of(text="", *, name="a.txt", metadata: Mapping | None = None, chunking=BY_KIND, **parsed):
    chunker = DocumentChunker(WordTokens(), IndexConfig("words", ("en", "fr"), LONG, 0))
    change = Change("t", "d", 1, external_id=name, metadata=metadata or {}, chunking=chunking)
    return chunker.chunks_of(ParsedDocument(text, **parsed), change)


def test_every_strategy_that_may_be_chosen_is_there():
    assert STRATEGIES.keys() == NAMES


LINES = st.one_of(
    st.text(max_size=60),
    st.from_regex(r"#{1,3} [a-z ]{1,20}", fullmatch=True),
    st.from_regex(r"[-*] [a-z ]{1,40}", fullmatch=True),
    st.from_regex(r"\|( [a-z]{1,9} \|){1,4}", fullmatch=True),
    st.from_regex(r"(\[10:[0-5]\d\] |)(Ada|Bob|\*\*Cleo\*\*, 9:12): ?[a-z. ]{0,200}", fullmatch=True),
    st.sampled_from(
        ["```", "| --- | --- |", "", "From: a@example.org", "On Monday, 3 May 2021, Ada wrote:", "def f():"]
    ),
    st.sampled_from(["    indented", "}", "---------- Forwarded message ----------"]),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(LINES, max_size=25), st.sampled_from(sorted(STRATEGIES)), st.integers(0, 20), st.data())
def test_no_character_is_lost_and_no_chunk_too_long(lines, strategy, overlap, data):
    text = "\n".join(lines)
    starts = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=3)) | {0}) if text else []
    pages = tuple(Page(number, start) for number, start in enumerate(starts, 1)) if data.draw(st.booleans()) else ()
    chunks = cut(text, strategy, overlap=overlap, pages=pages, title="A title")
    covered = set()
    for ordinal, chunk in enumerate(chunks):
        assert chunk.tokens <= LONG
        assert chunk.text.endswith(text[chunk.start : chunk.end])
        assert chunk.section_first <= ordinal <= chunk.section_last < len(chunks)
        covered |= set(range(chunk.start, chunk.end))
    assert not "".join(char for at, char in enumerate(text) if at not in covered).strip()


SAID = st.from_regex(r"[a-z]{1,8}( [a-z]{1,8}){0,40}\.", fullmatch=True)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["Ada", "Bob Stone", "Cleo"]), SAID), min_size=1, max_size=12))
def test_a_turn_that_fits_is_in_one_chunk_and_one_that_does_not_names_its_speaker_in_each(turns):
    said = [f"{speaker}: {text}" for speaker, text in turns]
    chunks = cut("\n".join(said), "turns")
    for (speaker, _), turn in zip(turns, said, strict=True):
        if len(turn.split()) <= LONG - WordTokens.special:
            assert any(turn in chunk.text for chunk in chunks)
        else:
            assert sum(f"{speaker}:" in chunk.text for chunk in chunks) > 1
    assert all(chunk.text.startswith(("Ada:", "Bob Stone:", "Cleo:")) for chunk in chunks)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 60), st.integers(1, 4))
def test_each_part_of_a_table_begins_with_its_header(rows, columns):
    header = "|" + " name |" * columns + "\n|" + " --- |" * columns
    table = header + "".join("\n|" + f" v{row} |" * columns for row in range(rows))
    chunks = cut(table, "table")
    assert all(chunk.text.startswith(header) for chunk in chunks)
    assert [line for chunk in chunks for line in chunk.text.splitlines()[2:]] == table.splitlines()[2:]


def test_a_sheet_is_a_section_and_its_name_stands_above_each_part():
    rows = "\n".join(f"| {n} | x |" for n in range(30))
    text = f"## Stock\n\n| id | what |\n| --- | --- |\n{rows}\n\n## Empty\n\n| id |\n| --- |"
    chunks = cut(text, "table", pages=(Page(1, 0), Page(2, text.index("## Empty"))))
    assert {chunk.headings for chunk in chunks[:-1]} == {("Stock",)}
    assert all("Stock" in chunk.embedded_text for chunk in chunks[:-1])
    assert all((chunk.section_first, chunk.section_last) == (0, len(chunks) - 2) for chunk in chunks[:-1])
    assert (chunks[-1].section_first, chunks[-1].headings, chunks[-1].page) == (len(chunks) - 1, ("Empty",), 2)


def test_a_heading_is_not_left_alone_by_a_block_that_hardly_fits():
    listed = "\n".join(f"- item number {n}" for n in range(9))
    chunks = cut(f"## All the items\n\n{listed}", "text")
    assert chunks[0].text.startswith("## All the items\n\n- item number 0")


def test_a_slide_is_a_unit_though_it_has_headings():
    text = "# One\n\nfirst\n\n## Detail\n\nmore\n\n# Two\n\nsecond"
    chunks = cut(text, "slides", pages=(Page(1, 0), Page(2, text.index("# Two"))))
    assert texts(chunks) == ["# One\n\nfirst\n\n## Detail\n\nmore", "# Two\n\nsecond"]
    assert [(chunk.page, chunk.headings) for chunk in chunks] == [(1, ("One",)), (2, ("Two",))]


def test_a_thread_is_the_turns_under_one_heading():
    text = "## Monday\n\n[10:01] Ada: hello\n[10:02] Bob: hi\n\n## Tuesday\n\n[09:00] Ada: again"
    chunks = cut(text, "turns")
    assert [(chunk.section_first, chunk.section_last, chunk.headings) for chunk in chunks] == [
        (0, 0, ("Monday",)),
        (1, 1, ("Tuesday",)),
    ]


def test_what_looks_like_a_turn_in_code_is_part_of_what_was_said():
    text = f"Ada: look\n\n```\nBob: {words(10)}\n```\n\nBob: seen {words(30)}"
    chunks = cut(text, "turns")
    assert texts(chunks) == [text[: text.index("\n\nBob: seen")], f"Bob: seen {words(30)}"]


def test_a_mail_is_cut_by_message_and_each_part_names_its_sender():
    newest = f"From: Ada <ada@example.org>\nSubject: Plan\n\n{words(10)}"
    older = f"On Mon, 3 May 2021 at 10:00, Bob wrote:\n\n> {words(60, 'quoted')}."
    chunks = cut(f"{newest}\n\n{older}", "mail", title="Plan")
    assert chunks[0].text == newest
    assert all(chunk.text.startswith("On Mon, 3 May 2021 at 10:00, Bob wrote:") for chunk in chunks[1:])
    assert len(chunks) > 2


def test_code_is_cut_between_definitions_and_a_comment_is_no_heading():
    functions = [f"def f{n}():\n    # comment\n\n    return [\n        {words(20)}\n    ]" for n in range(3)]
    chunks = cut("# License\n\n" + "\n\n\n".join(functions), "code")
    assert texts(chunks)[1:] == functions[1:]
    assert {chunk.headings for chunk in chunks} == {()}


def test_fixed_windows_are_as_long_as_they_may_be_and_overlap_by_words():
    said = " ".join(f"w{n}" for n in range(100))
    chunks = cut(f"# Heading\n\n{said}", "fixed", overlap=5)
    assert [chunk.tokens for chunk in chunks[:-1]] == [LONG] * (len(chunks) - 1)
    assert chunks[1].text.split()[:5] == chunks[0].text.split()[-5:]


CHAT = "[10:01] Ada: is it done?\n[10:02] Bob: nearly\n[10:05] Ada: thanks"
INTERVIEW = "\n\n".join(f"{who}: I think that {words(6)}" for who in ("Ada", "Bob", "Ada", "Bob"))


@pytest.mark.parametrize(
    ("facts", "kind"),
    [
        ({"text": "Some prose."}, "text"),
        ({"text": CHAT}, "chat"),
        ({"text": INTERVIEW}, "chat"),
        ({"text": "**Ada**, 3 May 2021 10:32:\nIt fails.\n\n**Bob**, 4 May 2021 09:10:\nFixed."}, "chat"),
        ({"text": "Note: mind the gap.\n\nNote: and the step.\n\nNote: both.\n\nNote: always."}, "text"),
        ({"text": "\n\n".join(["Website: a.org", "Stages: one, two"] * 4)}, "text"),
        ({"text": "Example 1: it works.\n\nExample 2: it does not."}, "text"),
        ({"text": "Name: Ada\nAge: 36\nCity: London\nTrade: maths"}, "text"),
        ({"text": CHAT + "\n\nlong story" * 20}, "text"),
        ({"text": "x = 1", "name": "src/main.PY"}, "code"),
        ({"text": CHAT, "kind": "table"}, "table"),
        ({"text": "words", "metadata": {"kind": "Ticket"}}, "ticket"),
        ({"text": "words", "kind": "mail", "metadata": {"kind": "poem"}}, "mail"),
        ({"text": "words", "metadata": {"kind": ["ticket"]}}, "text"),
    ],
)
def test_a_document_s_kind_is_what_its_metadata_says_or_what_it_shows(facts, kind):
    assert {chunk.kind for chunk in documents_of(**facts)} == {kind}


FRENCH = "Les réunions du conseil se tiennent chaque premier lundi du mois à la mairie."


@pytest.mark.parametrize(
    ("metadata", "language"),
    [
        ({}, "fr"),
        ({"language": "en"}, "en"),
        ({"language": "EN-gb"}, "en"),
        ({"language": "de"}, "fr"),
        ({"language": 3}, "fr"),
    ],
)
def test_a_document_s_language_is_what_its_metadata_says_or_what_it_is_written_in(metadata, language):
    assert {chunk.language for chunk in documents_of(FRENCH, metadata=metadata)} == {language}


def test_the_author_is_who_the_metadata_names_or_the_mail_s_sender():
    assert documents_of("x", author="Ada <a@example.org>")[0].author == "Ada <a@example.org>"
    assert documents_of("x", author="Ada", metadata={"author": " Bob "})[0].author == "Bob"
    assert documents_of("x", metadata={"author": 7})[0].author == ""


def test_a_source_s_own_strategy_and_sizes_come_before_the_kind_s():
    text = "# One\n\nfirst\n\n# Two\n\n" + words(100)
    assert len(documents_of(text, chunking=Chunking("fixed", 120))) == 1
    assert max(chunk.tokens for chunk in documents_of(text, chunking=Chunking("", 32))) <= 32


def test_sizes_that_no_model_reads_and_strategies_that_nobody_knows_are_not_followed():
    class Short(WordTokens):
        most = 50

    chunker = DocumentChunker(Short(), IndexConfig("words", ("en",), 220, 200))
    change = Change("t", "d", 1, chunking=Chunking("magic", 4000, 4000))
    chunks = chunker.chunks_of(ParsedDocument(words(300)), change)
    assert max(chunk.tokens for chunk in chunks) <= 50
