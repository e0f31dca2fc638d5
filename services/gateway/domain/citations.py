"""Which passages support an answer, sentence by sentence."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from services.gateway.domain.words import NEGATION, Sentence, is_number, sentences_of, without_markers

LEAST_SUPPORT = 0.6
# One word in common supports nothing, unless that word is the whole answer.
LEAST_WORDS = 2


@dataclass(frozen=True, slots=True)
class Citation:
    """A sentence of the answer, [answer_start, answer_end), and the span that supports it."""

    number: int
    passage_index: int
    answer_start: int
    answer_end: int
    passage_start: int
    passage_end: int
    support: float


@dataclass(frozen=True, slots=True)
class Cited:
    """The citations of an answer, and how many sentences that could have one have none."""

    citations: tuple[Citation, ...]
    unsupported_sentences: int


def cite(answer: str, passages: Sequence[str]) -> Cited:
    """Return what in `passages` supports each sentence of `answer`.

    A sentence is supported by one or two sentences of a passage that hold at least 0.6 of
    its content words, each of its numbers, and a negation if and only if it has one.
    """
    if not passages:
        return Cited((), 0)
    sentences = sentences_of(without_markers(answer))
    least_words = LEAST_WORDS if len(sentences) > 1 else 1
    claims = [sentence for sentence in sentences if len(sentence.words - {NEGATION}) >= least_words]
    index = _Index(passages)
    numbers: dict[int, int] = {}
    citations = []
    for claim in claims:
        if found := index.best(claim):
            passage_index, first, last, support = found
            number = numbers.setdefault(passage_index, len(numbers) + 1)
            citations.append(Citation(number, passage_index, claim.start, claim.end, first.start, last.end, support))
    return Cited(tuple(citations), len(claims) - len(citations))


class _Index:
    """The sentences of all passages, found by the words that they hold."""

    def __init__(self, passages: Sequence[str]) -> None:
        self._sentences = [
            (index, sentence) for index, passage in enumerate(passages) for sentence in sentences_of(passage)
        ]
        self._places: defaultdict[str, list[int]] = defaultdict(list)
        for place, (_, sentence) in enumerate(self._sentences):
            for word in sentence.words:
                self._places[word].append(place)

    def best(self, claim: Sentence) -> tuple[int, Sentence, Sentence, float] | None:
        """Return the passage, the first and the last sentence of the span that holds most of `claim`, and its share.

        Of spans that hold as much, the shorter one and the better passage win.
        """
        words = claim.words - {NEGATION}
        enough = LEAST_SUPPORT * len(words)
        candidates = [found for found in self._shares(words) if found[0] >= enough]
        for held, first, last in sorted(candidates, key=lambda found: (-found[0], found[2] - found[1], found[1])):
            passage_index, here = self._sentences[first]
            after = self._sentences[last][1]
            if _agree(claim.words, here.words | after.words):
                return passage_index, here, after, held / len(words)
        return None

    def _shares(self, words: frozenset[str]) -> Iterator[tuple[int, int, int]]:
        """Yield how many of `words` each sentence, and each two that follow each other, hold."""
        # Bit n of held[place] says that the sentence there holds the n-th word.
        held: defaultdict[int, int] = defaultdict(int)
        for bit, word in enumerate(words):
            for place in self._places.get(word, ()):
                held[place] |= 1 << bit
        for place, here in held.items():
            yield here.bit_count(), place, place
            after = held.get(place + 1)
            if after and self._sentences[place][0] == self._sentences[place + 1][0]:
                yield (here | after).bit_count(), place, place + 1


def _agree(claim: frozenset[str], support: frozenset[str]) -> bool:
    if (NEGATION in claim) != (NEGATION in support):
        return False
    return all(number in support for number in filter(is_number, claim))
