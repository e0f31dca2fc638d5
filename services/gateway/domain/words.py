"""Sentences and content words of any script, so that an answer can be held against a passage."""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

NEGATION = "¬"  # stands for every word of negation, so that sentences can be held against each other

# Small on purpose: words of English and French, folded, that carry no fact of their own.
_STOP_WORDS = frozenset(
    """
    a about after all also am an and any are as at be been being but by can could did do does doing during each for
    from further had has have having he her here hers him his how i if in into is it its just may me might more most
    must my of off on once only or other our out over own per please same shall she should so some such than that the
    their them then there these they this those through to too under until up us very was we were what when where
    which while who whom why will with within would you your yours
    au aussi aux avec avoir car ce ceci cela ces cet cette ceux chez comme dans de des donc dont du elle elles en est
    et etaient etait ete etes etre eu fait faire il ils je la le les leur leurs lors lui ma mais me mes moi mon ne nos
    notre nous on ont ou par pas plus pour que quel quelle quels qui sa sans se sera seront ses si son sont sous sur ta
    te tes toi ton tous tout toute toutes tres tu un une vos votre vous y
    """.split()  # noqa: SIM905 - forty lines of quotes would say no more
)
_NEGATIONS = frozenset("no not never none neither nor cannot without pas jamais aucun aucune non ni sans".split())  # noqa: SIM905

# The model's own markers, such as [2] or [1, 3], are no words of the answer.
_MARKER = re.compile(r"\[\d+(?:\s*[,;-]\s*\d+)*\]")

_GROUPING = ",.'\u2019 \u00a0\u202f\u2009"
_TOKEN = re.compile(
    rf"[^\W\d_]+(?:['\u2019]t\b)?|(?<!\d)\d{{1,3}}(?:[{_GROUPING}]\d{{3}}(?!\d))+(?:[.,]\d+)?|\d+(?:[.,]\d+)*"
)
_GROUP = re.compile(rf"[{_GROUPING}](?=\d{{3}}(?!\d))")

# Written without spaces, or with endings joined on: looked for as pairs of characters.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3"
    "\uf900-\ufaff\U00020000-\U0003ffff]+"
)

_ENDINGS = (
    "ments",
    "ment",
    "ables",
    "able",
    "ings",
    "ing",
    "ies",
    "ees",
    "ed",
    "ee",
    "er",
    "es",
    "ly",
    "s",
    "x",
    "e",
    "y",
)
_LEAST_STEM = 3

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
    """A sentence's span, [start, end), and what it says: stems, numbers, and NEGATION."""

    start: int
    end: int
    words: frozenset[str]


def without_markers(text: str) -> str:
    """Return `text`, as long as it was, with spaces for the model's own citation markers."""
    return _MARKER.sub(lambda marker: " " * len(marker[0]), text)


def sentences_of(text: str) -> list[Sentence]:
    """Return the sentences of `text` that have a letter or a digit, in order."""
    return [Sentence(start, end, _words_of(text[start:end])) for start, end in spans_of(text)]


def spans_of(text: str) -> Iterator[tuple[int, int]]:
    """Yield the span of each sentence, without the space around it."""
    start = 0
    for end in _ends_of(text):
        piece = text[start:end].rstrip()
        stripped = piece.lstrip()
        if any(map(str.isalnum, stripped)):
            yield start + len(piece) - len(stripped), start + len(piece)
        start = end


def is_number(word: str) -> bool:
    """Tell whether a word of a Sentence is a number."""
    return word[0].isdigit()


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


def _words_of(sentence: str) -> frozenset[str]:
    folded = sentence.lower() if sentence.isascii() else sentence.translate(_FOLDING)
    return frozenset().union(*map(_content_of, _TOKEN.findall(folded)))


class _Folding(dict[int, str]):
    """A table for str.translate: lower case, no accents, digits as ASCII; it grows by the characters met."""

    def __missing__(self, code: int) -> str:
        self[code] = folded = _fold(chr(code))
        return folded


_FOLDING = _Folding()


def _fold(char: str) -> str:
    if _UNSPACED.match(char):
        return char
    if char.isdigit():
        return str(unicodedata.digit(char))
    decomposed = unicodedata.normalize("NFKD", char.casefold())
    return "".join(part for part in decomposed if not unicodedata.combining(part))


# The same few words come again in every passage; a pure function's answers may be kept.
@lru_cache(maxsize=65536)
def _content_of(token: str) -> tuple[str, ...]:
    """Return what is compared of a token: a number, stems, NEGATION, or nothing of a stop word."""
    if token[0].isdigit():
        return (_GROUP.sub("", token).replace(",", "."),)
    if token in _NEGATIONS or token.endswith(("n't", "n\u2019t")):
        return (NEGATION,)
    if token in _STOP_WORDS:
        return ()
    if not _UNSPACED.search(token):
        return (_stem(token),)
    pairs = [run[i : i + 2] for run in _UNSPACED.findall(token) for i in range(max(1, len(run) - 1))]
    return (*pairs, *(_stem(word) for word in _UNSPACED.split(token) if word))


def _stem(word: str) -> str:
    """Return `word` without the endings that English and French put on one word."""
    for ending in _ENDINGS * 2:
        if word.endswith(ending) and len(word) - len(ending) >= _LEAST_STEM:
            word = word.removesuffix(ending)
    return word[:-1] if len(word) > _LEAST_STEM and word[-1] == word[-2] else word
