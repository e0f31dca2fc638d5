"""The ways to cut a document: what of it stands together, and under which headings."""

import re
from collections.abc import Iterator, Mapping
from itertools import pairwise, takewhile
from typing import Protocol

from services.embed.chunking.blocks import Block, BlockKind, Span, lines_of
from services.embed.chunking.sections import Section, heading_of, sections_of
from services.embed.chunking.turns import MESSAGE, TURN, turns_of
from services.embed.domain import Page, ParsedDocument

_CONTINUES = re.compile(r"[\s)\]}]|(?:else|elif|except|finally|catch|end)\b")


class Strategy(Protocol):
    """Says what of a document stands together, and so where it may be cut."""

    def __call__(self, document: ParsedDocument) -> Iterator[Section]:
        """Yield the sections in order; between their blocks is only space.

        A section is what a hit may be widened to. No chunk is of two sections.
        """


def slides_of(document: ParsedDocument) -> Iterator[Section]:
    """Yield each slide whole, under its own first heading."""
    for page, sections in _by_page(document):
        blocks = tuple(block for section in sections for block in section.blocks)
        titles = (heading_of(document.text, block) for block in blocks if block.kind is BlockKind.HEADING)
        yield Section(tuple(filter(None, [next(titles, "")])), page.number, blocks)


def conversation_of(document: ParsedDocument) -> Iterator[Section]:
    """Yield the turns under each heading: a thread, a day, or all there is."""
    for section in sections_of(document):
        heads = tuple(takewhile(lambda block: block.kind is BlockKind.HEADING, section.blocks))
        rest = section.blocks[len(heads) :]
        turns: tuple[Block, ...] = ()
        if rest:
            code = [block.span for block in rest if block.kind is BlockKind.CODE]
            turns = tuple(turns_of(document.text, Span(rest[0].span.start, rest[-1].span.end), TURN, code))
        yield Section(section.headings, section.page, (*heads, *turns))


def mail_of(document: ParsedDocument) -> Iterator[Section]:
    """Yield a mail's messages, the newest first as they stand: it, and what it answers or forwards."""
    blocks = tuple(turns_of(document.text, Span(0, len(document.text)), MESSAGE))
    if blocks:
        yield Section((), 0, blocks)


def code_of(document: ParsedDocument) -> Iterator[Section]:
    """Yield a file's definitions: what begins at the margin after a blank line, and all that belongs to it."""
    text = document.text
    starts: list[int] = []
    end = 0
    for line in lines_of(text, Span(0, len(text))):
        is_apart = "\n" in text[end : line.start].replace("\n", "", 1) or not starts
        if not starts or (is_apart and not _CONTINUES.match(text, line.start)):
            starts.append(line.start)
        end = line.end
    if starts:
        parts = pairwise([*starts, end])
        spans = (Span(start, start + len(text[start:stop].rstrip())) for start, stop in parts)
        yield Section((), 0, tuple(Block(BlockKind.CODE, span) for span in spans))


def windows_of(document: ParsedDocument) -> Iterator[Section]:
    """Yield each page, to be cut every so many tokens, whatever stands there."""
    pages = document.pages or (Page(0, 0),)
    starts = [page.start for page in pages]
    for page, end in zip(pages, [*starts[1:], len(document.text)], strict=True):
        if text := document.text[page.start : end].strip():
            start = document.text.index(text, page.start)
            yield Section((), page.number, (Block(BlockKind.WINDOW, Span(start, start + len(text))),))


def _by_page(document: ParsedDocument) -> Iterator[tuple[Page, list[Section]]]:
    gathered: list[Section] = []
    for section in sections_of(document):
        if gathered and section.page != gathered[-1].page:
            yield Page(gathered[-1].page, gathered[0].blocks[0].span.start), gathered
            gathered = []
        gathered.append(section)
    if gathered:
        yield Page(gathered[-1].page, gathered[0].blocks[0].span.start), gathered


STRATEGIES: Mapping[str, Strategy] = {
    "text": sections_of,
    "table": sections_of,
    "slides": slides_of,
    "turns": conversation_of,
    "mail": mail_of,
    "code": code_of,
    "fixed": windows_of,
}
