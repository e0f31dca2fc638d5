"""Finds the structure of Markdown-like text: headings, paragraphs, lists, tables and fenced code, as spans."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum


class BlockKind(StrEnum):
    """What a block is; it decides where it may be split."""

    HEADING = "heading"
    PARAGRAPH = "paragraph"
    LIST = "list"
    TABLE = "table"
    CODE = "code"
    TURN = "turn"
    WINDOW = "window"


@dataclass(frozen=True, slots=True)
class Span:
    """Characters [start, end) of a text."""

    start: int
    end: int

    def moved(self, by: int) -> "Span":
        """Return the same span `by` characters further on."""
        return Span(self.start + by, self.end + by)


@dataclass(frozen=True, slots=True)
class Block:
    """A block; `level` is a heading's, 1 to 6, and `header` the line that says who speaks in a turn."""

    kind: BlockKind
    span: Span
    level: int = 0
    header: Span | None = None

    def moved(self, by: int) -> "Block":
        """Return the same block `by` characters further on."""
        return Block(self.kind, self.span.moved(by), self.level, self.header and self.header.moved(by))


_HEADING = re.compile(r" {0,3}(#{1,6})(?:[ \t]|$)")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_ITEM = re.compile(r"\s*(?:[-*+•]|\d{1,9}[.)])(?:[ \t]|$)")
_TABLE_ROW = re.compile(r"\s*\|")


def blocks_of(text: str) -> Iterator[Block]:
    """Yield the blocks of `text` in order; between them is only space."""
    scanner = _Scanner(text)
    while scanner.more():
        block = scanner.next()
        if block is not None:
            yield block


def lines_of(text: str, span: Span) -> Iterator[Span]:
    """Yield the lines of a span that are not blank, without their line ends."""
    start = span.start
    while start < span.end:
        stop = text.find("\n", start, span.end)
        end = span.end if stop < 0 else stop
        if text[start:end].strip():
            yield Span(start, end)
        start = end + 1


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def more(self) -> bool:
        return self._at < len(self._text)

    def next(self) -> Block | None:
        """Return the block that begins at this line; None where the line is blank."""
        line, start = self._line(), self._at
        if not line.strip():
            self._step()
            return None
        if heading := _HEADING.match(line):
            end = self._step()
            return Block(BlockKind.HEADING, Span(start, end), len(heading[1]))
        if fence := _FENCE.match(line):
            return Block(BlockKind.CODE, Span(start, self._past_fence(fence[1])))
        kind = self._kind_at()
        return Block(kind, Span(start, self._past(kind)))

    def _kind_at(self) -> BlockKind:
        if _TABLE_ROW.match(self._line()):
            return BlockKind.TABLE
        return BlockKind.LIST if _ITEM.match(self._line()) else BlockKind.PARAGRAPH

    def _line(self) -> str:
        end = self._text.find("\n", self._at)
        return self._text[self._at :] if end < 0 else self._text[self._at : end]

    def _step(self) -> int:
        """Go to the next line and return the end of this one."""
        end = self._text.find("\n", self._at)
        end = len(self._text) if end < 0 else end
        self._at = end + 1
        return end

    def _past_fence(self, fence: str) -> int:
        end = self._step()
        while self.more():
            line = self._line().strip()
            end = self._step()
            if line.startswith(fence) and not line.strip(fence[0]):
                break
        return end

    def _past(self, kind: BlockKind) -> int:
        end = self._step()
        while self.more() and self._continues(kind):
            blank = not self._line().strip()
            stepped = self._step()
            end = end if blank else stepped
        return end

    def _continues(self, kind: BlockKind) -> bool:
        line = self._line()
        if _HEADING.match(line) or _FENCE.match(line):
            return False
        if kind is BlockKind.LIST:
            return self._list_goes_on(line)
        return bool(line.strip()) and self._kind_at() is kind

    def _list_goes_on(self, line: str) -> bool:
        if line.strip():
            return _TABLE_ROW.match(line) is None
        # One blank line may stand between items, and before what is indented under one.
        after = self._text[self._at + len(line) + 1 :][:200].partition("\n")[0]
        return bool(after.strip()) and (_ITEM.match(after) is not None or after[:1] in " \t")
