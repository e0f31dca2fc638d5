"""Drops rows that would tell a model what it is measured on: the tenant's kept sets of questions."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.tune.datasets.counting import StepReport, Tally
from services.tune.datasets.likeness import alike_questions, folded, runs_of
from services.tune.datasets.rows import Row


@dataclass(frozen=True, slots=True)
class Golden:
    """A question that is kept to measure on, and its right answers."""

    question: str
    answers: tuple[str, ...] = ()


class Leakage:
    """Drops rows whose question is nearly a golden one, or that share 13 words in a row with one or its answers."""

    def __init__(self, golden: Sequence[Golden]) -> None:
        self._questions = frozenset(folded(each.question) for each in golden)
        self._alike = alike_questions()
        for number, each in enumerate(golden):
            self._alike.add(number, each.question)
        self._runs = frozenset(
            run for each in golden for text in (each.question, *each.answers) for run in runs_of(text)
        )

    def __call__(self, rows: Sequence[Row]) -> tuple[list[Row], StepReport]:
        """Return the rows that tell nothing of the golden ones."""
        tally, kept = Tally("golden items"), []
        for row in rows:
            if reason := self._leak(row):
                tally.drop(reason, row.question, row.documents)
            else:
                kept.append(row)
        return kept, tally.report(len(rows), len(kept))

    def _leak(self, row: Row) -> str:
        asked = (row.question, *(turn.question for turn in row.history))
        if any(folded(question) in self._questions or self._alike.matches(question) for question in asked):
            return "golden question"
        # Passages are the documents', which a model is given anyway.
        said = (*asked, *row.told, *(turn.answer for turn in row.history))
        return "golden words" if any(not self._runs.isdisjoint(runs_of(text)) for text in said) else ""
