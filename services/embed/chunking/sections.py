"""Groups blocks under their headings: what stands together, and which headings are above it."""

from collections.abc import Iterator
from dataclasses import dataclass

from services.embed.chunking.blocks import Block, BlockKind, blocks_of
from services.embed.domain import Page, ParsedDocument

MAX_HEADING_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Section:
    """Blocks in a row, their own heading lines first; `headings` is the path down to them."""

    headings: tuple[str, ...]
    page: int
    blocks: tuple[Block, ...]


def sections_of(document: ParsedDocument) -> Iterator[Section]:
    """Yield the sections of a document; a page, slide or sheet begins a new one.

    Headings with nothing under them stand with what follows.
    """
    headings: list[tuple[int, str]] = []
    gathered: list[Block] = []
    pages = _Pages(document.pages)
    for block in _split_at_pages(document):
        begins_page = pages.reach(block.span.start)
        is_heading = block.kind is BlockKind.HEADING
        if gathered and (begins_page or (is_heading and gathered[-1].kind is not BlockKind.HEADING)):
            yield Section(_path(headings), pages.previous if begins_page else pages.number, tuple(gathered))
            gathered = []
        if is_heading:
            headings = [known for known in headings if known[0] < block.level]
            headings.append((block.level, heading_of(document.text, block)))
        gathered.append(block)
    if gathered:
        yield Section(_path(headings), pages.number, tuple(gathered))


def heading_of(text: str, block: Block) -> str:
    """Return what a heading says, without its marks."""
    line = text[block.span.start : block.span.end]
    return " ".join(line.strip().strip("#").replace("*", "").split())[:MAX_HEADING_CHARACTERS]


def _path(headings: list[tuple[int, str]]) -> tuple[str, ...]:
    return tuple(title for _, title in headings if title)


def _split_at_pages(document: ParsedDocument) -> Iterator[Block]:
    """Yield blocks page by page, so that none stands on two."""
    starts = [page.start for page in document.pages] or [0]
    for start, end in zip(starts, [*starts[1:], len(document.text)], strict=True):
        for block in blocks_of(document.text[start:end]):
            yield block.moved(start)


class _Pages:
    """Follows the page numbers as offsets rise."""

    def __init__(self, pages: tuple[Page, ...]) -> None:
        self._left = list(reversed(pages))
        self.number = 0
        self.previous = 0

    def reach(self, offset: int) -> bool:
        """Go to the page of `offset`; return whether it is another than before."""
        before = self.number
        while self._left and self._left[-1].start <= offset:
            self.number = self._left.pop().number
        self.previous = before
        return self.number != before
