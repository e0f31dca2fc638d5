"""Which texts are nearly the same: MinHash finds candidates, their shingles decide, and of questions their facts."""

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

from datasketch import MinHash, MinHashLSH

from services.common.grounding.facts import Facts, facts_of
from services.common.grounding.words import words_of

# Lee et al. 2022 (arXiv:2107.06499) take texts of a Jaccard similarity of .8 for duplicates.
SAME_TEXT = 0.8
# Questions are short: one word more moves them further apart.
SAME_QUESTION = 0.6
# Brown et al. 2020 (arXiv:2005.14165, appendix C) look for test data in training data by 13 words in a row.
OVERLAP_WORDS = 13
_SHINGLE = 4
_PERMUTATIONS = 64
_WORD = re.compile(r"\w+")
# Citations are no words of an answer.
_MARKER = re.compile(r"\[\d+\]")


def folded(text: str) -> str:
    """Return a text as it is compared: its words in lower case without accents, one space between."""
    apart = unicodedata.normalize("NFKD", _MARKER.sub(" ", text).casefold())
    return " ".join(_WORD.findall("".join(each for each in apart if not unicodedata.combining(each))))


def shingles_of(text: str) -> frozenset[str]:
    """Return the runs of characters by which texts are compared."""
    text = folded(text)
    return frozenset(text[at : at + _SHINGLE] for at in range(max(1, len(text) - _SHINGLE + 1)))


def likeness(one: frozenset[str], other: frozenset[str]) -> float:
    """Return the Jaccard similarity of two sets, 0 to 1."""
    return len(one & other) / max(1, len(one | other))


def runs_of(text: str) -> frozenset[str]:
    """Return each OVERLAP_WORDS words in a row of a text."""
    words = folded(text).split()
    return frozenset(" ".join(words[at : at + OVERLAP_WORDS]) for at in range(len(words) - OVERLAP_WORDS + 1))


class Alike:
    """Texts that were added, and which of them a text is like; never one that `differs` tells apart from it."""

    def __init__(self, threshold: float, differs: Callable[[str, str], bool] = lambda *_: False) -> None:
        self._threshold = threshold
        self._differs = differs
        # Candidates are looked for more widely than they are taken.
        self._index = MinHashLSH(threshold=max(0.1, threshold - 0.2), num_perm=_PERMUTATIONS)
        self._texts: dict[int, str] = {}
        self._shingles: dict[int, frozenset[str]] = {}

    def matches(self, text: str) -> list[int]:
        """Return the keys of the texts that are nearly this one, lowest first."""
        return self._matches(text, shingles_of(text))

    def add(self, key: int, text: str) -> list[int]:
        """Add a text, and return the keys of those added before that are nearly this one, lowest first."""
        shingles = shingles_of(text)
        found = self._matches(text, shingles)
        self._index.insert(key, _minhash(shingles))
        self._texts[key], self._shingles[key] = text, shingles
        return found

    def _matches(self, text: str, shingles: frozenset[str]) -> list[int]:
        near: Sequence[int] = self._index.query(_minhash(shingles)) if self._shingles else ()
        found = (key for key in near if likeness(shingles, self._shingles[key]) >= self._threshold)
        return sorted(key for key in found if not self._differs(text, self._texts[key]))


def alike_questions() -> Alike:
    """Return what finds questions that ask nearly the same."""
    return Alike(SAME_QUESTION, differ_in_facts)


def differ_in_facts(question: str, other: str) -> bool:
    """Tell whether each of two questions has a name, number or date that the other has not: less may mean the same."""
    return _has_more(question, other) and _has_more(other, question)


def _has_more(text: str, other: str) -> bool:
    (own, _), (others, _) = facts_of(text), facts_of(other)
    return bool(own.names - words_of(other)) or bool(_numbers(own) - _numbers(others))


def _numbers(facts: Facts) -> frozenset[str]:
    return facts.dates | {value for value, _ in facts.quantities}


class Groups:
    """A partition of the numbers 0 to `size`: what is joined stays together."""

    def __init__(self, size: int) -> None:
        self._above = list(range(size))

    def join(self, numbers: Sequence[int]) -> None:
        """Put numbers into one group."""
        for one, other in pairwise(numbers):
            low, high = sorted((self._top(one), self._top(other)))
            self._above[high] = low

    def all(self) -> Iterator[list[int]]:
        """Yield each group, its numbers rising."""
        groups: dict[int, list[int]] = {}
        for number in range(len(self._above)):
            groups.setdefault(self._top(number), []).append(number)
        yield from groups.values()

    def _top(self, number: int) -> int:
        while self._above[number] != number:
            self._above[number] = self._above[self._above[number]]
            number = self._above[number]
        return number


def _minhash(shingles: frozenset[str]) -> MinHash:
    made = MinHash(num_perm=_PERMUTATIONS)
    made.update_batch([each.encode() for each in sorted(shingles)])
    return made
