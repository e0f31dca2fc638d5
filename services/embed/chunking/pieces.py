"""Cuts a text into pieces that fit, at the best places that there are: sentences, lines, words, characters."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from services.embed.chunking.blocks import Block, BlockKind, Span, lines_of
from services.embed.ports import Tokens

# A token stands for at least one in so many characters: some tokenizers make one token of a
# word of any length, and no chunk may be larger than the index and a prompt can take.
CHARACTERS_A_TOKEN = 16

# The last ones are the ideographic full stop, and the full-width marks.
_SENTENCE = re.compile("(?<=[.!?\u2026])\\s+|(?<=[\u3002\uff01\uff1f])|\\n\\s*\\n")
_WORD = re.compile(r"\S+")
_KEPT_WHOLE = {BlockKind.HEADING, BlockKind.TURN}
_SEPARATOR = re.compile(r"[\s|:-]+")


@dataclass(frozen=True, slots=True)
class Piece:
    """Part of a block, or all of it; `header` is what must be repeated before it when it comes first.

    One that `begins` comes after no other in its chunk.
    """

    span: Span
    weight: int
    kind: BlockKind
    header: Span | None = None
    begins: bool = False


class Cutter:
    """Weighs and cuts spans of one text."""

    def __init__(self, text: str, tokens: Tokens) -> None:
        self.text = text
        self._tokens = tokens

    def weights(self, spans: Sequence[Span]) -> list[int]:
        """Return what each span costs of a chunk's budget."""
        counts = self._tokens.counts([self.text[span.start : span.end] for span in spans])
        return [max(count, least_weight(span)) for count, span in zip(counts, spans, strict=True)]

    def pieces(self, blocks: Sequence[Block], budget: int) -> Iterator[Piece]:
        """Yield the blocks, in pieces where they are over `budget`, or would part from the headings above them."""
        above = 0
        for block, weight in zip(blocks, self.weights([block.span for block in blocks]), strict=True):
            beside = 0 if block.kind in _KEPT_WHOLE else above
            if weight + beside <= budget:
                yield Piece(block.span, weight, block.kind)
            else:
                yield from self._cut_block(block, budget)
            above = above + weight if block.kind is BlockKind.HEADING else 0

    def tail(self, span: Span, budget: int, kind: BlockKind) -> int:
        """Return where the last whole sentences, or else words, of `span` begin that cost at most `budget`."""
        if budget <= 0:
            return span.end
        near = Span(max(span.start, span.end - budget * CHARACTERS_A_TOKEN), span.end)
        for cut in (_words,) if kind is BlockKind.WINDOW else (_sentences, _words):
            parts = list(cut(self.text, near))
            # Where `near` is not all of `span`, its first part may be the end of something.
            start = self._tail_of(parts if near == span else parts[1:], budget)
            if start is not None:
                return start
        return span.end

    def _tail_of(self, parts: Sequence[Span], budget: int) -> int | None:
        start = None
        for part, weight in zip(reversed(parts), reversed(self.weights(parts)), strict=True):
            budget -= weight
            if budget < 0:
                break
            start = part.start
        return start

    def _cut_block(self, block: Block, budget: int) -> Iterator[Piece]:
        header = self._header_of(block, budget)
        room = budget - self.weights([header])[0] if header else budget
        for span, weight in self._cut(block.span, room, _CUTS[block.kind]):
            repeated = header if header and span.start >= header.end else None
            begins = block.kind is BlockKind.TURN and span.start == block.span.start
            yield Piece(span, weight, block.kind, repeated, begins)

    def _header_of(self, block: Block, budget: int) -> Span | None:
        header = self._columns_of(block) if block.kind is BlockKind.TABLE else block.header
        # A header that fills most of a chunk leaves no room for what it explains.
        return header if header and self.weights([header])[0] <= budget // 2 else None

    def _columns_of(self, table: Block) -> Span | None:
        lines = lines_of(self.text, table.span)
        first, second = next(lines), next(lines, None)
        if second is None or not _SEPARATOR.fullmatch(self.text[second.start : second.end]):
            return None
        return Span(first.start, second.end)

    def _cut(self, span: Span, budget: int, cuts: Sequence["_Cut"]) -> Iterator[tuple[Span, int]]:
        if not cuts:
            yield from self._halve(span, budget)
            return
        parts = list(cuts[0](self.text, span))
        for part, weight in zip(parts, self.weights(parts), strict=True):
            if weight <= budget:
                yield part, weight
            else:
                yield from self._cut(part, budget, cuts[1:])

    def _halve(self, span: Span, budget: int) -> Iterator[tuple[Span, int]]:
        for part in _slices(span, budget * CHARACTERS_A_TOKEN):
            weight = self.weights([part])[0]
            length = part.end - part.start
            if weight <= budget or length == 1:
                yield part, weight
            else:
                middle = part.start + length // 2
                yield from self._halve(Span(part.start, middle), budget)
                yield from self._halve(Span(middle, part.end), budget)


def least_weight(span: Span) -> int:
    """Return what a span costs at least, however few its tokens are."""
    return -(-(span.end - span.start) // CHARACTERS_A_TOKEN)


_Cut = Callable[[str, Span], Iterator[Span]]


def _sentences(text: str, span: Span) -> Iterator[Span]:
    start = span.start
    for end in _SENTENCE.finditer(text, span.start, span.end):
        if text[start : end.start()].strip():
            yield Span(start, end.start())
            start = end.end()
    if text[start : span.end].strip():
        yield Span(start, span.end)


def _words(text: str, span: Span) -> Iterator[Span]:
    for word in _WORD.finditer(text, span.start, span.end):
        yield Span(*word.span())


def _slices(span: Span, size: int) -> Iterator[Span]:
    for start in range(span.start, span.end, size):
        yield Span(start, min(start + size, span.end))


_CUTS: dict[BlockKind, tuple[_Cut, ...]] = {
    BlockKind.HEADING: (_words,),
    BlockKind.PARAGRAPH: (_sentences, lines_of, _words),
    BlockKind.LIST: (lines_of, _sentences, _words),
    BlockKind.TABLE: (lines_of, _words),
    BlockKind.CODE: (lines_of, _words),
    BlockKind.TURN: (_sentences, lines_of, _words),
    BlockKind.WINDOW: (_words,),
}
