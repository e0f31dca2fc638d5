"""How much of what is asked stands in the passages, and the threshold under which they do not tell."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from services.common.grounding.facts import facts_of
from services.common.grounding.sentences import sentences_of
from services.common.grounding.words import NEGATION, words_of

SIMILARITY_WEIGHT = 0.35


@dataclass(frozen=True, slots=True)
class Seen:
    """A passage as evidence, with its similarity to the question, 0 where that is not known.

    It is not `comparable` where its words are another language's than the question's.
    """

    text: str
    context: str
    similarity: float
    comparable: bool


@dataclass(frozen=True, slots=True)
class Evidence:
    """How much of the question is found, 0 to 1, and the passages by it, best first."""

    score: float
    nearest: tuple[int, ...]


def evidence_of(question: str, passages: Sequence[Seen]) -> Evidence:
    """Return how much of `question` is found in the passage that has most of it.

    Of the question's content words, with names and numbers counting twice, it is the mean of
    the share that the passage has and the share that two of its sentences have side by side;
    what is known of the embeddings' similarity counts for about a third. A question without
    content words asks for nothing that could be missing, and of a passage in another language
    whose similarity is not known nothing can be said: both count as found.
    """
    weights = _weights_of(question)
    scores = [_score(weights, passage) for passage in passages]
    nearest = sorted(range(len(scores)), key=lambda place: -scores[place])
    return Evidence(max(scores, default=0.0), tuple(nearest))


def calibrate(scores: Sequence[float], missing: Sequence[bool], beta: float = 1.0) -> float:
    """Return the threshold under which "the passages do not tell" has the best F-beta (van Rijsbergen, 1979).

    `missing` says for each score whether the answer was not in the passages. A beta under 1
    weighs that no answer is refused for nothing, one over 1 that none is missed.
    """
    pairs = sorted(zip(scores, missing, strict=True))
    wanted, weight = sum(missing), beta * beta
    best, threshold, right = 0.0, 0.0, 0
    for told, (score, is_missing) in enumerate(pairs, 1):
        right += is_missing
        following = pairs[told][0] if told < len(pairs) else 1.0
        measure = (1 + weight) * right / (weight * wanted + told)
        if following > score and measure > best:
            best, threshold = measure, (score + following) / 2
    return threshold


def _weights_of(question: str) -> Mapping[str, int]:
    names = facts_of(question)[0].names
    words = words_of(question) - {NEGATION}
    return {word: 2 if word in names or word[0].isdigit() else 1 for word in words}


def _score(weights: Mapping[str, int], passage: Seen) -> float:
    if not weights:
        return 1.0
    if not passage.comparable:
        return passage.similarity or 1.0
    sentences = [sentence.holds for sentence in sentences_of(passage.text)]
    whole = words_of(passage.context).union(*sentences)
    side_by_side = [one | other for one, other in pairwise([*sentences, frozenset[str]()])]
    words = (_share(weights, whole) + max((_share(weights, held) for held in side_by_side), default=0.0)) / 2
    if not passage.similarity:
        return words
    return (1 - SIMILARITY_WEIGHT) * words + SIMILARITY_WEIGHT * passage.similarity


def _share(weights: Mapping[str, int], held: frozenset[str]) -> float:
    return sum(weight for word, weight in weights.items() if word in held) / sum(weights.values())
