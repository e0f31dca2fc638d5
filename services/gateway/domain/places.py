"""Where in its document a piece of a passage stands."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Placed:
    """A passage's text, which covers [start_offset, end_offset) of the document's characters."""

    length: int
    start_offset: int
    end_offset: int


def document_span(passage: Placed, start: int, end: int) -> tuple[int, int]:
    """Return the document's characters that hold [start, end) of the passage's text.

    The text ends with the document's characters. It may begin with others, a table's header
    that is repeated: those are left out, and where nothing is left the span is empty. It may
    also leave out blanks between chunks: then the span is as wide as it takes to be sure.
    """
    left_out = passage.end_offset - passage.start_offset - passage.length
    first = passage.start_offset + start - (0 if left_out >= 0 else -left_out)
    last = passage.end_offset - (passage.length - end)
    first, last = (min(max(place, passage.start_offset), passage.end_offset) for place in (first, last))
    return first, max(first, last)
