"""Finds who speaks when: the turns of a chat or a ticket, and the messages of a mail."""

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from services.embed.chunking.blocks import Block, BlockKind, Span, blocks_of

# Every repeat is bounded, so that no text makes them slow.
_TIME = r"(?:\[[^\]\n]{1,40}\]|\(?\d{1,2}[:.h]\d{2}(?::\d{2})?(?: ?[AaPp][Mm])?\)?)"
_NAME = r"[\w.'\u2019()@-]{1,30}(?: [\w.'\u2019()-]{1,30}){0,3}"
_SAID = r"(?:[^:\n]|:\d\d){0,60}:(?=\s|$)"
TURN = re.compile(
    rf"^[ ]{{0,3}}(?:{_TIME} )?\*\*(?P<bold>[^*\n:]{{1,60}})(?::\*\*(?=\s|$)|\*\*{_SAID})"
    rf"|^[ ]{{0,3}}{_TIME}[ -]{{1,3}}(?:<(?P<handle>{_NAME})>|(?P<timed>{_NAME}):(?=\s|$))"
    rf"|^(?P<plain>(?=[^\W\d_a-z]){_NAME})(?: ?\[[^\]\n]{{1,40}}\]|, {_SAID[:-9]})?:(?=\s|$)",
    re.MULTILINE,
)
MESSAGE = re.compile(
    r"^From: [^\n]{1,500}$"
    r"|^-{2,20} ?(?:Original Message|Forwarded message|Message d'origine|Message transféré|Ursprüngliche Nachricht)"
    r"[ -]{0,20}$"
    r"|^(?:On|Le|Am|El|Il) [^\n]{6,200}(?:\n[^\n]{1,100})?(?:wrote|a écrit|schrieb|escribió|ha scritto)[^\n]{0,80}:$",
    re.MULTILINE,
)

_LOOKED_AT = 20_000
_LEAST_TURNS, _LEAST_TIMED_TURNS = 4, 2
_PARAGRAPH = re.compile(r"(?:\A|\n[ \t]*\n)[ \t]*\S")


def turns_of(text: str, span: Span, begins: re.Pattern[str], apart: Sequence[Span] = ()) -> Iterator[Block]:
    """Yield the turns in a span, each headed by what `begins` finds, and the blocks before the first.

    What lies in the spans `apart`, such as code, begins none.
    """
    found = [match for match in begins.finditer(text, span.start, span.end) if not _within(match.start(), apart)]
    starts = [match.start() for match in found]
    before = starts[0] if starts else span.end
    yield from (block.moved(span.start) for block in blocks_of(text[span.start : before]))
    for match, (start, end) in zip(found, pairwise([*starts, span.end]), strict=True):
        stop = start + len(text[start:end].rstrip())
        yield Block(BlockKind.TURN, Span(start, stop), header=Span(start, min(match.end(), stop)))


def is_conversation(text: str) -> bool:
    """Return whether a text is, for most of it, what several people say by turns."""
    looked = text[:_LOOKED_AT]
    found = list(TURN.finditer(looked))
    timed = sum(any(map(str.isdigit, match[0])) for match in found)
    speakers = {match[match.lastgroup or 0].strip().casefold() for match in found}
    enough = timed >= _LEAST_TIMED_TURNS or (len(found) >= _LEAST_TURNS and len(found) >= 2 * len(speakers))
    # One who speaks to nobody writes a list of terms, or a form.
    return enough and len(speakers) > 1 and 2 * len(found) >= len(_PARAGRAPH.findall(looked))


def _within(at: int, spans: Sequence[Span]) -> bool:
    return any(span.start <= at < span.end for span in spans)
