"""Rated answers, and the rows of each kind that they make."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, product
from typing import Any

from services.common.grounding.abstention import text_of
from services.tune.datasets.citing import cited, uncited
from services.tune.datasets.counting import Tally
from services.tune.datasets.likeness import folded
from services.tune.datasets.rows import Kind, Row, RowPassage

# Of one question: more pairs would say the same again.
MOST_PAIRS = 3


@dataclass(frozen=True, slots=True)
class Rated:
    """Somebody's opinion of an answer, with what stood in the prompt; times are ISO, or ""."""

    rating_id: str
    interaction_id: str
    conversation: str
    rater: str
    asker: str
    up: bool
    correction: str
    rated_at: str
    asked_at: str
    question: str
    answer: str
    abstained: bool
    passages: tuple[RowPassage, ...]
    documents: tuple[str, ...]
    language: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class _Opinion:
    """All that was said of one answer to one question."""

    best: Rated
    ups: tuple[Rated, ...]
    downs: tuple[Rated, ...]

    @property
    def label(self) -> bool:
        return len(self.ups) > len(self.downs)

    @property
    def is_split(self) -> bool:
        return len(self.ups) == len(self.downs)

    @property
    def weight(self) -> float:
        """Return how far people agree, 0 to 1."""
        return abs(len(self.ups) - len(self.downs)) / (len(self.ups) + len(self.downs))

    @property
    def all(self) -> tuple[Rated, ...]:
        return (*self.ups, *self.downs)


def rated_of(record: Mapping[str, Any]) -> Rated:
    """Return a rated answer from JSON."""
    passages = tuple(RowPassage(**each) for each in record["passages"])
    return Rated(**{**record, "passages": passages, "documents": tuple(record["documents"])})


def rows_of(kind: Kind, ratings: Sequence[Rated], tally: Tally) -> list[Row]:
    """Return the rows of a kind that ratings make; answers that people are divided on make none, and are counted."""
    opinions = list(_opinions(ratings))
    for each in opinions:
        if each.is_split:
            tally.drop("people are divided", each.best.question, each.best.documents)
    decided = [each for each in opinions if not each.is_split]
    corrected = [each for each in ratings if each.correction]
    return list(_MAKERS[kind](decided, corrected, tally))


def _opinions(ratings: Sequence[Rated]) -> Iterator[_Opinion]:
    groups: dict[tuple[str, str], list[Rated]] = defaultdict(list)
    for each in ratings:
        groups[folded(each.question), folded(each.answer)].append(each)
    for same in groups.values():
        ups = tuple(each for each in same if each.up)
        downs = tuple(each for each in same if not each.up)
        yield _Opinion(same[0], ups, downs)


def _right(decided: Sequence[_Opinion], corrected: Sequence[Rated], tally: Tally) -> Iterator[Row]:
    for opinion in decided:
        if not opinion.label:
            continue
        completion, supported = _answered(opinion.best)
        if opinion.best.passages and not supported and not opinion.best.abstained:
            tally.drop("nothing supports it", opinion.best.question, opinion.best.documents)
            continue
        yield _row(opinion.all, completion=completion, weight=opinion.weight)
    yield from (_row([each], completion=_corrected(each)) for each in corrected)


def _labelled(decided: Sequence[_Opinion], corrected: Sequence[Rated], _tally: Tally) -> Iterator[Row]:
    for opinion in decided:
        completion, _ = _answered(opinion.best)
        yield _row(opinion.all, completion=completion, label=opinion.label, weight=opinion.weight)
    yield from (_row([each], completion=_corrected(each)) for each in corrected)


def _pairs(decided: Sequence[_Opinion], corrected: Sequence[Rated], _tally: Tally) -> Iterator[Row]:
    for each in corrected:
        if folded(each.correction) != folded(each.answer):
            yield _row([each], chosen=_corrected(each), rejected=_answered(each)[0])
    by_question: dict[str, list[_Opinion]] = defaultdict(list)
    for opinion in decided:
        by_question[folded(opinion.best.question)].append(opinion)
    for same in by_question.values():
        good, bad = [each for each in same if each.label], [each for each in same if not each.label]
        for better, worse in islice(product(good, bad), MOST_PAIRS):
            # Both are held against the passages of the better one, which stand in the prompt.
            rejected, _ = cited(worse.best.answer, better.best.passages, better.best.question)
            everybody = (*better.all, *worse.all)
            weight = min(better.weight, worse.weight)
            yield _row(everybody, chosen=_answered(better.best)[0], rejected=rejected, weight=weight)


def _asked(decided: Sequence[_Opinion], corrected: Sequence[Rated], _tally: Tally) -> Iterator[Row]:
    groups: dict[str, list[Rated]] = defaultdict(list)
    right: dict[str, dict[str, None]] = defaultdict(dict)
    untold: set[str] = set()
    for each in corrected:
        groups[folded(each.question)].append(each)
        right[folded(each.question)][uncited(each.correction)] = None
    for opinion in decided:
        name = folded(opinion.best.question)
        groups[name] += opinion.all
        if opinion.label and opinion.best.abstained:
            untold.add(name)
        elif opinion.label:
            right[name][uncited(opinion.best.answer)] = None
    for name, same in groups.items():
        answers = tuple(right[name])
        yield _row(same, answers=answers, answerable=bool(answers) or name not in untold)


_MAKERS: Mapping[Kind, Callable[[Sequence[_Opinion], Sequence[Rated], Tally], Iterator[Row]]] = {
    Kind.SFT: _right,
    Kind.KTO: _labelled,
    Kind.DPO: _pairs,
    Kind.GRPO: _asked,
}


def _answered(rated: Rated) -> tuple[str, int]:
    """Return an answer as it is learnt, and how many of its sentences something supports."""
    if rated.abstained:
        return text_of(rated.language, offers=False), 0
    return cited(rated.answer, rated.passages, rated.question)


def _corrected(rated: Rated) -> str:
    return cited(rated.correction, rated.passages, rated.question)[0]


def _row(ratings: Sequence[Rated], **own: Any) -> Row:
    first = ratings[0]
    return Row(
        question=first.question,
        conversation=first.conversation,
        at=max(each.rated_at for each in ratings),
        source=first.source,
        language=first.language,
        passages=first.passages,
        documents=tuple(sorted({document for each in ratings for document in each.documents})),
        raters=tuple(sorted({each.rater for each in ratings})),
        people=tuple(sorted({name for each in ratings for name in (each.rater, each.asker) if name})),
        interactions=tuple(sorted({each.interaction_id for each in ratings})),
        **own,
    )
