"""Packs a document's blocks into chunks that the embedding model can read whole."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

from services.embed.chunking.blocks import BlockKind, Span
from services.embed.chunking.pieces import Cutter, Piece, least_weight
from services.embed.chunking.sections import Section, heading_of, sections_of
from services.embed.chunking.strategies import Strategy
from services.embed.domain import Chunk, ParsedDocument
from services.embed.ports import Tokens

_OVERLAPPING = {BlockKind.PARAGRAPH, BlockKind.LIST, BlockKind.WINDOW}
_LEAST_BUDGET = 16


@dataclass(frozen=True, slots=True)
class ChunkLimits:
    """In tokens: the most of a chunk with all that is embedded, and what it repeats of the one before."""

    max_tokens: int
    overlap_tokens: int


@dataclass(frozen=True, slots=True)
class _Group:
    """What one chunk is made of."""

    span: Span
    header: Span | None


class Chunker:
    """Makes chunks; holds nothing of any document."""

    def __init__(self, tokens: Tokens, limits: ChunkLimits) -> None:
        self._tokens = tokens
        self._room = limits.max_tokens - tokens.special
        self._overlap = limits.overlap_tokens

    def chunk(self, document: ParsedDocument, title: str, strategy: Strategy = sections_of) -> list[Chunk]:
        """Return the chunks of `document` in order.

        Every character that is not space is in one of them. A block that fits, together with
        the headings above it, is never split.
        """
        cutter = Cutter(document.text, self._tokens)
        chunks: list[Chunk] = []
        for section in strategy(document):
            some = self._chunks_of(cutter, section, title)
            first, last = len(chunks), len(chunks) + len(some) - 1
            chunks.extend(replace(chunk, section_first=first, section_last=last) for chunk in some)
        return chunks

    def _chunks_of(self, cutter: Cutter, section: Section, title: str) -> list[Chunk]:
        above = self._context(title, section.headings)
        budget = self._room - self._tokens.counts(["\n".join(above)])[0]
        while True:
            chunks = self._packed(cutter, section, above, budget)
            over = max(chunk.tokens for chunk in chunks) - self._room - self._tokens.special
            # Cut and joined texts may have some tokens more than their parts had.
            if over <= 0 or budget <= _LEAST_BUDGET:
                return chunks
            budget = max(budget - over, _LEAST_BUDGET)

    def _context(self, title: str, headings: tuple[str, ...]) -> tuple[str, ...]:
        """Return the lines embedded before each chunk's text: as much of title and headings as a third holds."""
        full = headings if headings and headings[0].casefold() == title.casefold() else (title, *headings)
        choices = [tuple(filter(None, choice)) for choice in (full, (title, *headings[-1:]), headings[-1:], (title,))]
        counts = self._tokens.counts(["\n".join(choice) for choice in choices])
        fitting = (choice for choice, count in zip(choices, counts, strict=True) if count <= self._room // 3)
        return next(fitting, ())

    def _packed(self, cutter: Cutter, section: Section, above: Sequence[str], budget: int) -> list[Chunk]:
        own = {heading_of(cutter.text, block) for block in section.blocks if block.kind is BlockKind.HEADING}
        groups = list(self._groups(cutter, list(cutter.pieces(section.blocks, budget)), budget))
        texts = [_text_of(cutter.text, group) for group in groups]
        # The first chunk has its own headings in its text.
        contexts = [[line for line in above if number or line not in own] for number in range(len(groups))]
        embedded = ["\n".join((*context, text)) for context, text in zip(contexts, texts, strict=True)]
        counts = self._tokens.counts(embedded)
        return [
            Chunk(
                text=text,
                start=group.span.start,
                end=group.span.end,
                headings=section.headings,
                page=section.page,
                embedded_text=whole,
                tokens=count + self._tokens.special,
            )
            for group, text, whole, count in zip(groups, texts, embedded, counts, strict=True)
        ]

    def _groups(self, cutter: Cutter, pieces: Sequence[Piece], budget: int) -> Iterator[_Group]:
        group = [pieces[0]]
        start, weight = pieces[0].span.start, pieces[0].weight
        for piece in pieces[1:]:
            together = max(weight + piece.weight, least_weight(Span(start, piece.span.end)))
            if together <= budget and not piece.begins:
                group.append(piece)
                weight += piece.weight
                continue
            yield _Group(Span(start, group[-1].span.end), group[0].header)
            start = self._start_of(cutter, group, piece, budget)
            weight = cutter.weights([Span(start, piece.span.end)])[0] + _weight_of(cutter, piece.header)
            group = [piece]
        yield _Group(Span(start, group[-1].span.end), group[0].header)

    def _start_of(self, cutter: Cutter, group: Sequence[Piece], piece: Piece, budget: int) -> int:
        """Return where the chunk after `group` begins: at `piece`, or earlier where what may overlap goes on."""
        going_on = list(takewhile(lambda before: before.kind in _OVERLAPPING, reversed(group)))
        if not going_on or piece.kind not in _OVERLAPPING:
            return piece.span.start
        before = Span(going_on[-1].span.start, going_on[0].span.end)
        start = cutter.tail(before, min(self._overlap, budget - piece.weight), piece.kind)
        fits = cutter.weights([Span(start, piece.span.end)])[0] <= budget
        return start if start < before.end and fits else piece.span.start


def _weight_of(cutter: Cutter, span: Span | None) -> int:
    return cutter.weights([span])[0] if span else 0


def _text_of(text: str, group: _Group) -> str:
    own = text[group.span.start : group.span.end]
    return own if group.header is None else f"{text[group.header.start : group.header.end]}\n{own}"
