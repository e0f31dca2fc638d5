"""How the scores of the two legs become one.

A convex combination of normalised scores (Bruch, Gai, Ingber: An Analysis of Fusion Functions for
Hybrid Retrieval, ACM TOIS 2023): it keeps how much better a hit is, which ranks do not tell, so that
a leg that is sure of its hits is not drowned by one that guesses.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from services.retrieve.domain.hits import Hit
from services.retrieve.domain.pairs import pair_scores

# Measured on cranfield, feedbackqa and xquad (read) and on piaf (not read): see ADR 30.
READ_SHARE = 0.6
UNREAD_SHARE = 0.2
EXACT_SHARE = 0.2
# Of the words' leg: what words that stand together in query and passage count.
PAIRS_SHARE = 0.15

_QUOTED = re.compile(r'"[^"]+"|«[^»]+»|“[^”]+”')
# What names one thing: RMA-2041, 0x80070005, ERR_TIMEOUT, 10.2.0.7; in a longer question it is one word of many.
_IDENTIFIER = re.compile(r"\S*(?:\d[\d.:/_-]*\d|[A-Za-z]\d|\d[A-Za-z]|\w_\w)\S*")
_EXACT_WORDS = 4


@dataclass(frozen=True, slots=True)
class Reading:
    """What the legs can make of a query: the language it was found to be in, and those that the model reads."""

    language: str
    model_reads: Collection[str]

    @property
    def read(self) -> bool:
        """Whether the embedding model knows what the query says; what is not told is given to it."""
        return not self.language or self.language in self.model_reads


def dense_share_of(query: str, reading: Reading) -> float:
    """Return the dense leg's share, 0 to 1, by what is evident of a query."""
    if not reading.read:
        return UNREAD_SHARE
    return EXACT_SHARE if _is_exact(query) else READ_SHARE


def _is_exact(query: str) -> bool:
    words = query.split()
    return bool(_QUOTED.search(query)) or (
        len(words) <= _EXACT_WORDS and any(_IDENTIFIER.fullmatch(word) for word in words)
    )


@dataclass(frozen=True, slots=True)
class Legs:
    """What each leg says of the same hits, from 0 to 1; all 0 where it found nothing."""

    dense: Sequence[float]
    words: Sequence[float]

    def scores(self, dense_share: float) -> list[float]:
        """Return the hits' scores. Where one leg found nothing, the other's order is all that there is."""
        share = 0.0 if not any(self.dense) else 1.0 if not any(self.words) else dense_share
        return [share * one + (1 - share) * other for one, other in zip(self.dense, self.words, strict=True)]


def legs_of(hits: Sequence[Hit], stems: Sequence[str]) -> Legs:
    """Return what the legs say of hits.

    Of a hit that a leg did not find, it says the lowest that it says of any: it can be no more.
    """
    words = _normalised([hit.bm25 for hit in hits])
    pairs = _normalised(list(pair_scores(stems, [hit.words for hit in hits])))
    if any(pairs):
        words = [(1 - PAIRS_SHARE) * one + PAIRS_SHARE * other for one, other in zip(words, pairs, strict=True)]
    return Legs(_normalised([hit.similarity for hit in hits]), words)


def fused(hits: Sequence[Hit], stems: Sequence[str], dense_share: float) -> list[Hit]:
    """Return the hits of both legs, best first, with scores from 0 to 1 and their share of the query's stems."""
    wanted = set(stems)
    scored = [
        replace(hit, score=score, words_share=_share_of(wanted, hit))
        for hit, score in zip(hits, legs_of(hits, stems).scores(dense_share), strict=True)
    ]
    # Ties are broken so that the same search always gives the same order.
    return sorted(scored, key=lambda hit: (-hit.score, hit.document_id, hit.ordinal, hit.chunk_id))


def _normalised(scores: Sequence[float | None]) -> list[float]:
    """Return scores as shares of the highest; what is under 0 is 0."""
    known = [score for score in scores if score is not None]
    highest, lowest = max(known, default=0.0), min(known, default=0.0)
    if highest <= 0:
        return [0.0] * len(scores)
    return [max(lowest if score is None else score, 0.0) / highest for score in scores]


def _share_of(wanted: set[str], hit: Hit) -> float:
    return len(wanted.intersection(hit.words.split())) / len(wanted) if wanted else 0.0
