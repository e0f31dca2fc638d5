"""A step of the cleaning, and the small ones: encodings, lengths of texts, languages, contradictions, duplicates."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import ftfy

from services.common.analysis import STEMMERS, language_of
from services.common.grounding.abstention import says_nothing
from services.common.text import printable
from services.tune.datasets.counting import StepReport, Tally
from services.tune.datasets.likeness import SAME_TEXT, Alike, folded
from services.tune.datasets.rows import Kind, Row

LANGUAGES = tuple(STEMMERS)
# An answer of fewer words may be in any language.
_TELLING_WORDS = 5
_NEEDED = {Kind.SFT: ("completion",), Kind.KTO: ("completion",), Kind.DPO: ("chosen", "rejected"), Kind.GRPO: ()}
_REPLACEMENT = "\ufffd"


class Step(Protocol):
    """Takes rows, and gives those that stay, as they shall be."""

    def __call__(self, rows: Sequence[Row]) -> tuple[list[Row], StepReport]:
        """Return the rows and what was counted."""
        ...


@dataclass(frozen=True, slots=True)
class Encodings:
    """Mends texts that were decoded wrongly, and drops what nothing mends or what is empty."""

    kind: Kind

    def __call__(self, rows: Sequence[Row]) -> tuple[list[Row], StepReport]:
        """Return the rows with texts as they were meant."""
        tally, kept = Tally("encodings"), []
        for row in rows:
            mended = row.mapped(_mended)
            # What nobody can read any more was lost before it came here.
            if _REPLACEMENT in mended.text:
                tally.drop("broken encoding", mended.question, row.documents)
            elif not mended.question or not all(getattr(mended, name) for name in _NEEDED[self.kind]):
                tally.drop("empty", mended.question, row.documents)
            else:
                tally.change("mended", int(mended != row.mapped(printable)))
                kept.append(mended)
        return kept, tally.report(len(rows), len(kept))


@dataclass(frozen=True, slots=True)
class Languages:
    """Says each row's language, and keeps the wanted ones; an answer in another language than its question goes."""

    wanted: tuple[str, ...] = ()

    def __call__(self, rows: Sequence[Row]) -> tuple[list[Row], StepReport]:
        """Return the rows with their language, "" where it cannot be told."""
        tally, kept = Tally("language"), []
        for row in rows:
            language = language_of(row.text, LANGUAGES) or row.language
            if self.wanted and language not in self.wanted:
                tally.drop(f"language {language or 'unknown'}", row.question, row.documents)
            elif _differs(row):
                tally.drop("answered in another language", row.question, row.documents)
            else:
                kept.append(replace(row, language=language))
        return kept, tally.report(len(rows), len(kept))


@dataclass(frozen=True, slots=True)
class Contradictions:
    """Of an answer that is called both good and bad, the majority's label stays; where there is none, nothing."""

    def __call__(self, rows: Sequence[Row]) -> tuple[list[Row], StepReport]:
        """Return the rows with one label for each question and answer, and one direction for each pair."""
        tally = Tally("contradictions")
        groups: dict[tuple[str, ...], list[Row]] = defaultdict(list)
        for row in rows:
            groups[_claim(row)].append(row)
        kept = [row for same in groups.values() for row in _agreed(same, tally)]
        return kept, tally.report(len(rows), len(kept))


@dataclass(frozen=True, slots=True)
class Duplicates:
    """Keeps one of rows that ask and answer the same, and one of those that do so nearly."""

    def __call__(self, rows: Sequence[Row]) -> tuple[list[Row], StepReport]:
        """Return the rows without what is there before them; what a dropped one tells of people stays known."""
        tally, kept = Tally("duplicates"), dict[int, Row]()
        exact: dict[tuple[str, str, bool], int] = {}
        near = {label: Alike(SAME_TEXT) for label in (True, False)}
        for number, row in enumerate(rows):
            key = (folded(row.question), folded("\n".join(row.told)), row.label)
            first = exact.setdefault(key, number)
            alike = [first] if first != number else _same_meant(near[row.label].add(number, row.text), row, kept)
            if not alike:
                kept[number] = row
                continue
            tally.drop("exact duplicate" if first != number else "near duplicate", row.question, row.documents)
            if alike[0] in kept:
                kept[alike[0]] = _joined(kept[alike[0]], row)
        return list(kept.values()), tally.report(len(rows), len(kept))


def _mended(text: str) -> str:
    return printable(ftfy.fix_text(text))


def _differs(row: Row) -> bool:
    right = row.right
    if len(right.split()) < _TELLING_WORDS or len(row.question.split()) < _TELLING_WORDS:
        return False
    asked, answered = language_of(row.question, LANGUAGES), language_of(right, LANGUAGES)
    return bool(asked and answered) and asked != answered


def _claim(row: Row) -> tuple[str, ...]:
    """Return what two rows must share to contradict or confirm each other."""
    if row.chosen:
        return (folded(row.question), *sorted((folded(row.chosen), folded(row.rejected))))
    return (folded(row.question), folded("\n".join(row.told)))


def _agreed(same: Sequence[Row], tally: Tally) -> Iterable[Row]:
    sides: dict[tuple[bool, str], list[Row]] = defaultdict(list)
    for row in same:
        sides[row.label, folded(row.chosen)].append(row)
    weights = {side: sum(row.weight for row in found) for side, found in sides.items()}
    best = max(weights.values())
    winners = [side for side, weight in weights.items() if weight == best]
    won = winners[0] if len(winners) == 1 else None
    for side, found in sides.items():
        if side == won:
            yield from found
            continue
        for row in found:
            tally.drop("outvoted" if won else "undecided", row.question, row.documents)


def _same_meant(near: Sequence[int], row: Row, kept: dict[int, Row]) -> list[int]:
    """Return those of the near rows that say the same: one that tells, and one that does not, do not."""
    tells = [says_nothing(each) for each in row.told]
    return [number for number in near if number in kept and [says_nothing(each) for each in kept[number].told] == tells]


def _joined(row: Row, other: Row) -> Row:
    """Return a row that keeps who else is behind what it says, so that their erasure finds it."""
    return replace(
        row,
        raters=tuple(sorted({*row.raters, *other.raters})),
        people=tuple(sorted({*row.people, *other.people})),
        interactions=tuple(sorted({*row.interactions, *other.interactions})),
    )
