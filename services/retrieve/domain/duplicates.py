"""Passages that say nearly the same become one, with every place where it stands.

Exact Jaccard similarity of word shingles. Two sets that are alike enough share one of the first few of
their elements in any common order (prefix filtering: Chaudhuri, Ganti, Kaushik, ICDE 2006), so few are compared.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.retrieve.domain.hits import Hit

SHINGLE_WORDS = 5
ALIKE = 0.9
# What is shorter says what it says by where it stands: "Ask at reception." under two headings is two things.
LEAST_WORDS = 10


@dataclass(frozen=True, slots=True)
class Distinct:
    """Hits that say different things, best first, and by chunk those that say what it says."""

    hits: Sequence[Hit]
    copies: Mapping[str, Sequence[Hit]]


def distinct(hits: Sequence[Hit], most: int) -> Distinct:
    """Return the hits, best first, without those that say nearly what a better one does; at most `most`.

    Comparing costs as much as searching does: what is not shown is not looked at.
    """
    kept: list[Hit] = []
    copies: dict[str, list[Hit]] = {}
    shingles: list[frozenset[int]] = []
    by_prefix: defaultdict[int, list[int]] = defaultdict(list)
    for hit in hits:
        if len(kept) == most:
            break
        own = _shingles(hit.text.casefold().split())
        prefix = _prefix(own)
        near = dict.fromkeys(number for each in prefix for number in by_prefix[each])
        original = next((number for number in near if _alike(own, shingles[number])), None)
        if original is not None:
            copies.setdefault(kept[original].chunk_id, []).append(hit)
            continue
        for each in prefix:
            by_prefix[each].append(len(kept))
        kept.append(hit)
        shingles.append(own)
    return Distinct(kept, copies)


def _shingles(words: Sequence[str]) -> frozenset[int]:
    """Return every run of a few words, hashed: as the process does, for hashes are compared within it only."""
    if len(words) < LEAST_WORDS:
        return frozenset()
    return frozenset(
        hash(tuple(words[start : start + SHINGLE_WORDS])) for start in range(len(words) - SHINGLE_WORDS + 1)
    )


def _prefix(shingles: frozenset[int]) -> list[int]:
    return sorted(shingles)[: len(shingles) - math.ceil(ALIKE * len(shingles)) + 1] if shingles else []


def _alike(one: frozenset[int], other: frozenset[int]) -> bool:
    common = len(one & other)
    return common >= ALIKE * (len(one) + len(other) - common)
