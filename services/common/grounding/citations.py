"""Which passages support an answer, sentence by sentence, and why the others do not."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from services.common.grounding.facts import numbers_agree
from services.common.grounding.sentences import Sentence, sentences_of, without_markers
from services.common.grounding.words import NEGATION, words_of

# Of a sentence's content words, what a span must hold where the question is not to be heard in it.
LEAST_SUPPORT = 0.95
# Else of what the sentence adds to the question, and, of what it repeats of it: one sentence, two, the whole passage.
LEAST_ADDED = 0.75
LEAST_REPEATED, LEAST_REPEATED_BY_TWO, LEAST_REPEATED_AROUND = 0.5, 0.9, 0.6
# From this share on a span is about the same: it may support, and what it has otherwise is worth telling.
RESEMBLANCE = 0.5
# One word in common supports nothing, unless that word is the whole answer.
LEAST_WORDS = 2
# With these a model speaks of what it does.
_OWN_WORDS = words_of("answer question passage")


class Reason(StrEnum):
    """Why a sentence is unsupported."""

    NO_SUPPORT = "NO_SUPPORT"
    NUMBER_DIFFERS = "NUMBER_DIFFERS"
    NAME_DIFFERS = "NAME_DIFFERS"
    NEGATION_DIFFERS = "NEGATION_DIFFERS"
    NOT_ENTAILED = "NOT_ENTAILED"


@dataclass(frozen=True, slots=True)
class Given:
    """A passage that was in the prompt; `context` is what stands over it: title and headings."""

    text: str
    context: str = ""


@dataclass(frozen=True, slots=True)
class Span:
    """Characters of a passage's text, [start, end), and the share of a sentence's content words found there."""

    passage_index: int
    start: int
    end: int
    support: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """A sentence of the answer, [start, end): the span that is nearest to it, and why that does not support it."""

    start: int
    end: int
    span: Span | None
    reason: Reason | None


@dataclass(frozen=True, slots=True)
class Checked:
    """The verdicts on an answer, and why the entailment model, if any, gave none ("" where it did)."""

    verdicts: tuple[Verdict, ...]
    failure: str = ""

    @property
    def supported(self) -> int:
        """Return how many sentences a passage supports."""
        return sum(verdict.reason is None for verdict in self.verdicts)

    @property
    def supported_share(self) -> float:
        """Return the share of the sentences that a passage supports; 1 where none says anything."""
        return self.supported / len(self.verdicts) if self.verdicts else 1.0

    def cited(self) -> Iterator[tuple[int, Verdict, Span]]:
        """Yield each supported sentence with its span, and the number of the passage, in order of first use."""
        numbers: dict[int, int] = {}
        for verdict in self.verdicts:
            if verdict.span and verdict.reason is None:
                number = numbers.setdefault(verdict.span.passage_index, len(numbers) + 1)
                yield number, verdict, verdict.span


def check(answer: str, passages: Sequence[Given], question: str = "") -> tuple[Verdict, ...]:
    """Return a verdict for each sentence of `answer` that says something, in order.

    A sentence is supported by a span, one or two sentences of a passage, that holds 0.95 of its
    content words, two at least where there is a question. What it repeats of that is no evidence
    by itself: where the span is about the same (it holds 0.5 of that, two sentences 0.9, and the
    passage 0.6), 0.75 of what the sentence adds is enough. Its numbers, its dates, and a negation
    if and only if it has one must stand in the span; its names there or over the passage, and
    those that the question has anywhere in it.
    """
    sentences = sentences_of(without_markers(answer))
    least_words = LEAST_WORDS if len(sentences) > 1 else 1
    claims = [sentence for sentence in sentences if len(sentence.words - {NEGATION}) >= least_words]
    index = _Index(passages, words_of(question) - {NEGATION})
    return tuple(index.verdict(claim) for claim in claims)


def judged(verdicts: Sequence[Verdict], entailed: Sequence[float], least: float) -> tuple[Verdict, ...]:
    """Return the verdicts, corrected by how surely each span of `doubtful(verdicts)` entails its sentence, 0 to 1.

    What differs in a number or a name stays unsupported: there a model is easily deceived.
    """
    scores = iter(entailed)
    return tuple(verdict if _is_settled(verdict) else _corrected(verdict, next(scores), least) for verdict in verdicts)


def doubtful(verdicts: Sequence[Verdict]) -> list[tuple[Verdict, Span]]:
    """Return those of `verdicts` on which an entailment model has a say, each with its span."""
    return [(verdict, verdict.span) for verdict in verdicts if verdict.span and not _is_settled(verdict)]


def _is_settled(verdict: Verdict) -> bool:
    return verdict.span is None or verdict.reason in {Reason.NUMBER_DIFFERS, Reason.NAME_DIFFERS}


def _corrected(verdict: Verdict, score: float, least: float) -> Verdict:
    span = replace(verdict.span, support=score) if verdict.span else None
    return replace(verdict, span=span, reason=None if score >= least else Reason.NOT_ENTAILED)


class _Index:
    """The sentences of all passages, found by the words that they hold."""

    def __init__(self, passages: Sequence[Given], asked: frozenset[str]) -> None:
        self._asked = asked
        self._sentences = [
            (index, sentence) for index, passage in enumerate(passages) for sentence in sentences_of(passage.text)
        ]
        self._over = [words_of(passage.context) for passage in passages]
        self._about = list(self._over)
        for index, sentence in self._sentences:
            self._about[index] |= sentence.holds
        self._nearness = [_share(asked, about) for about in self._about]
        self._places: defaultdict[str, list[int]] = defaultdict(list)
        for place, (_, sentence) in enumerate(self._sentences):
            for word in sentence.holds:
                self._places[word].append(place)

    def verdict(self, claim: Sentence) -> Verdict:
        """Return the verdict on a sentence.

        Of spans that hold as much, that of the passage nearest to the question wins, then the
        shorter one, then that of the better passage.
        """
        found = list(self._shares(self._told(claim)))
        if not found:
            return Verdict(claim.start, claim.end, None, Reason.NO_SUPPORT)
        close = sorted((span for span in found if span[0] >= RESEMBLANCE), key=self._rank)
        for span in close:
            if self._is_enough(claim, *span) and not self._difference(claim, *span[1:]):
                return self._said(claim, span, None)
        nearest = close[0] if close else min(found, key=self._rank)
        difference = self._difference(claim, *nearest[1:]) if close else None
        return self._said(claim, nearest, difference or Reason.NO_SUPPORT)

    def _rank(self, span: tuple[float, int, int]) -> tuple[float, float, int, int]:
        share, first, last = span
        return -share, -self._nearness[self._sentences[first][0]], last - first, first

    def _told(self, claim: Sentence) -> frozenset[str]:
        """Return the content words of a sentence, without those by which the model speaks of itself."""
        return claim.words - {NEGATION} - (_OWN_WORDS - self._asked)

    def _said(self, claim: Sentence, found: tuple[float, int, int], reason: Reason | None) -> Verdict:
        support, first, last = found
        passage_index, begins = self._sentences[first]
        ends = self._sentences[last][1]
        return Verdict(claim.start, claim.end, Span(passage_index, begins.start, ends.end, support), reason)

    def _is_enough(self, claim: Sentence, share: float, first: int, last: int) -> bool:
        words, passage_index = self._told(claim), self._sentences[first][0]
        # A word alone stands in many a passage: what was asked must be there, too.
        if share >= LEAST_SUPPORT and (len(words) >= LEAST_WORDS or not self._asked):
            return True
        held = self._held(first, last)
        added, repeated = words - self._asked, words & self._asked or self._asked
        if not added or _share(added, held | claim.facts.names & self._over[passage_index]) < LEAST_ADDED:
            return False
        least = LEAST_REPEATED if first == last else LEAST_REPEATED_BY_TWO
        around = _share(repeated, self._about[passage_index])
        return _share(repeated, held) >= least and around >= LEAST_REPEATED_AROUND

    def _held(self, first: int, last: int) -> frozenset[str]:
        return self._sentences[first][1].holds | self._sentences[last][1].holds

    def _difference(self, claim: Sentence, first: int, last: int) -> Reason | None:
        """Return which fact of `claim` the span has otherwise."""
        passage_index, begins = self._sentences[first]
        ends, names = self._sentences[last][1], claim.facts.names
        if not numbers_agree(claim.facts, begins.facts, ends.facts):
            return Reason.NUMBER_DIFFERS
        near = self._held(first, last) | self._over[passage_index]
        if not (names - self._asked <= near and names & self._asked <= self._about[passage_index]):
            return Reason.NAME_DIFFERS
        if (NEGATION in claim.words) != (NEGATION in begins.words | ends.words):
            return Reason.NEGATION_DIFFERS
        return None

    def _shares(self, words: frozenset[str]) -> Iterator[tuple[float, int, int]]:
        """Yield the share of `words` that each sentence, and each two that follow each other, hold."""
        # Bit n of held[place] says that the sentence there holds the n-th word.
        held: defaultdict[int, int] = defaultdict(int)
        for bit, word in enumerate(words):
            for place in self._places.get(word, ()):
                held[place] |= 1 << bit
        for place, here in held.items():
            yield here.bit_count() / len(words), place, place
            after = held.get(place + 1)
            if after and self._sentences[place][0] == self._sentences[place + 1][0]:
                yield (here | after).bit_count() / len(words), place, place + 1


def _share(words: frozenset[str], held: frozenset[str]) -> float:
    """Return the share of `words` in `held`; 0 where there are no words."""
    return len(words & held) / len(words) if words else 0.0
