"""How the scores of the two legs become one.

A convex combination of normalised scores (Bruch, Gai, Ingber: An Analysis of Fusion Functions for
Hybrid Retrieval, ACM TOIS 2023): it keeps how much better a hit is, which ranks do not tell, so that
a leg that is sure of its hits is not drowned by one that guesses.
"""

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from services.retrieve.domain.hits import Hit
from services.retrieve.domain.pairs import pair_scores

# Measured on cranfield, feedbackqa and xquad (read) and on piaf (not read): see ADR 30.
READ_SHARE = 0.6
UNREAD_SHARE = 0.3
EXACT_SHARE = 0.2
# Of the words' leg: what words that stand together in query and passage count.
PAIRS_SHARE = 0.15

_QUOTED = re.compile(r'"[^"]+"|«[^»]+»|“[^”]+”')
# What names one thing: RMA-2041, 0x80070005, ERR_TIMEOUT, 10.2.0.7; in a longer question it is one word of many.
_IDENTIFIER = re.compile(r"\S*(?:\d[\d.:/_-]*\d|[A-Za-z]\d|\d[A-Za-z]|\w_\w)\S*")
_EXACT_WORDS = 4
# Of the words' leg: enough for a majority.
_TELLING_HITS = 10


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


def language_by_words(hits: Sequence[Hit]) -> str:
    """Return the language of most of the hits that share the most with a query's words; "" where none tells."""
    best = sorted((hit for hit in hits if hit.bm25), key=lambda hit: -(hit.bm25 or 0.0))[:_TELLING_HITS]
    languages = Counter(hit.language for hit in best if hit.language)
    return languages.most_common(1)[0][0] if languages else ""


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
    """Return what the legs say of hits; of one that a leg did not find it says 0."""
    return _legs_of(hits, stems, [hit.words.split() for hit in hits])


def fused(hits: Sequence[Hit], stems: Sequence[str], dense_share: float) -> list[Hit]:
    """Return the hits of both legs, best first, with scores from 0 to 1 and their share of the query's stems."""
    wanted, words = frozenset(stems), [hit.words.split() for hit in hits]
    scores = _legs_of(hits, stems, words).scores(dense_share)
    scored = [
        replace(hit, score=score, words_share=len(wanted.intersection(own)) / len(wanted) if wanted else 0.0)
        for hit, own, score in zip(hits, words, scores, strict=True)
    ]
    # Ties are broken so that the same search always gives the same order.
    return sorted(scored, key=lambda hit: (-hit.score, hit.document_id, hit.ordinal, hit.chunk_id))


def _legs_of(hits: Sequence[Hit], stems: Sequence[str], words: Sequence[Sequence[str]]) -> Legs:
    by_words = _normalised([hit.bm25 or 0.0 for hit in hits])
    pairs = _normalised(pair_scores(stems, words))
    if any(pairs):
        by_words = [(1 - PAIRS_SHARE) * one + PAIRS_SHARE * other for one, other in zip(by_words, pairs, strict=True)]
    return Legs(_normalised([hit.similarity or 0.0 for hit in hits]), by_words)


def _normalised(scores: Sequence[float]) -> list[float]:
    """Return scores as shares of the highest; what is under 0 is 0."""
    highest = max(scores, default=0.0)
    return [max(score, 0.0) / highest for score in scores] if highest > 0 else [0.0] * len(scores)
