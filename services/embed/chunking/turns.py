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
_WHEN = re.compile(r"\d[:.h]\d\d|\d{4}-\d\d|(?:19|20)\d\d")
# What people say to each other, and what forms and lists of terms do not.
_SAID_TO_SOMEBODY = re.compile(
    r"\?|\b(?:i|you|we|me|my|your|our|je|j|tu|nous|vous|moi|mon|votre|ich|du|wir|mir|yo|usted|io|lei|noi)\b",
    re.IGNORECASE,
)
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
    speakers = {match[match.lastgroup or 0].strip().casefold() for match in found}
    if len(speakers) <= 1 or 2 * len(found) < len(_PARAGRAPH.findall(looked)):
        return False
    if sum(bool(_WHEN.search(match[0])) for match in found) >= max(_LEAST_TIMED_TURNS, len(found) // 2):
        return True
    return len(found) >= max(_LEAST_TURNS, 2 * len(speakers)) and _is_said(looked, found)


def _is_said(text: str, found: Sequence[re.Match[str]]) -> bool:
    ends = [*(match.start() for match in found[1:]), len(text)]
    said = (text[match.end() : end] for match, end in zip(found, ends, strict=True))
    return 2 * sum(bool(_SAID_TO_SOMEBODY.search(one)) for one in said) >= len(found)


def _within(at: int, spans: Sequence[Span]) -> bool:
    return any(span.start <= at < span.end for span in spans)
