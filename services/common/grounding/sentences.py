"""Sentences of any script, with what each says."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from services.common.grounding.facts import Facts, facts_of
from services.common.grounding.words import words_of

# The model's own markers, such as [2] or [1, 3], are no words of the answer.
_MARKER = re.compile(r"\[\d+(?:\s*[,;-]\s*\d+)*\]")

# Stops that end a sentence where they stand, and those that need a space after them.
_FIRM_STOPS = "\n\u3002\uff01\uff1f\uff61\u0964\u0965\u17d4\u104b"
_SPACED_STOPS = ".!?\u2026\u061f\u06d4\u0589\u1362"
_STOP = re.compile(f"[{_FIRM_STOPS}{_SPACED_STOPS}]+[\"'\u2019\u201d\u00bb)\\]\u300d\u300f\uff09]*")
# After these a full stop ends no sentence: initials, list numbers, common abbreviations.
_ABBREVIATION = re.compile(
    r"(?:^|[\s(])(?:[^\W\d_]|\d{1,2}|[Dd]r|[Mm]rs?|[Mm]me|[Mm]lle|[Ss]t|[Nn]o|art|approx|etc|vs|e\.g|i\.e|p\.\s?ex)\.$"
)
_LOOK_BACK = 10


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence's span, [start, end), what it says, and what else it can support.

    `words` are stems, numbers and NEGATION; `holds` has also what a date contains: its year, say.
    """

    start: int
    end: int
    words: frozenset[str]
    holds: frozenset[str]
    facts: Facts


def without_markers(text: str) -> str:
    """Return `text`, as long as it was, with spaces for the model's own citation markers."""
    return _MARKER.sub(lambda marker: " " * len(marker[0]), text)


def sentences_of(text: str) -> list[Sentence]:
    """Return the sentences of `text` that have a letter or a digit, in order."""
    return [_sentence(text, start, end) for start, end in spans_of(text)]


def spans_of(text: str) -> Iterator[tuple[int, int]]:
    """Yield the span of each sentence, without the space around it."""
    start = 0
    for end in _ends_of(text):
        piece = text[start:end].rstrip()
        stripped = piece.lstrip()
        if any(map(str.isalnum, stripped)):
            yield start + len(piece) - len(stripped), start + len(piece)
        start = end


def _sentence(text: str, start: int, end: int) -> Sentence:
    piece = text[start:end]
    facts, undated = facts_of(piece)
    words = words_of(undated) | facts.dates
    return Sentence(start, end, words, words | words_of(piece) | facts.date_parts, facts)


def _ends_of(text: str) -> Iterator[int]:
    for match in _STOP.finditer(text):
        if _ends_sentence(text, match):
            yield match.end()
    yield len(text)


def _ends_sentence(text: str, match: re.Match[str]) -> bool:
    stop, end = match[0], match.end()
    if stop[0] in _FIRM_STOPS or "\n" in stop:
        return True
    if not text[end : end + 1].isspace():
        return False
    return stop != "." or _ABBREVIATION.search(text[max(0, end - _LOOK_BACK) : end]) is None
