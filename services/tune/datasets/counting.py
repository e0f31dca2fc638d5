"""What a step did: how much went in and came out, what was dropped and why, with examples."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

EXAMPLES = 3
EXAMPLE_CHARS = 200


@dataclass(frozen=True, slots=True)
class Example:
    """A text that was dropped or changed, and the documents behind it."""

    reason: str
    text: str
    documents: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StepReport:
    """One step's count; `changed` rows came out as others than they went in."""

    name: str
    rows_in: int
    rows_out: int
    dropped: dict[str, int]
    changed: dict[str, int]
    examples: tuple[Example, ...]

    def as_json(self) -> dict[str, Any]:
        """Return it as the report has it."""
        return {
            "name": self.name,
            "in": self.rows_in,
            "out": self.rows_out,
            "dropped": dict(sorted(self.dropped.items())),
            "changed": dict(sorted(self.changed.items())),
            "examples": [
                {"reason": each.reason, "text": each.text, "documents": list(each.documents)} for each in self.examples
            ],
        }


@dataclass(slots=True)
class Tally:
    """Counts while a step works."""

    name: str
    dropped: Counter[str] = field(default_factory=Counter)
    changed: Counter[str] = field(default_factory=Counter)
    _examples: list[Example] = field(default_factory=list)

    def drop(self, reason: str, text: str, documents: Sequence[str] = ()) -> None:
        """Count what is left out."""
        self.dropped[reason] += 1
        self._exemplify(reason, text, documents)

    def change(self, reason: str, number: int = 1) -> None:
        """Count what is changed."""
        self.changed[reason] += number

    def report(self, rows_in: int, rows_out: int) -> StepReport:
        """Return what was counted."""
        return StepReport(self.name, rows_in, rows_out, dict(self.dropped), dict(self.changed), tuple(self._examples))

    def _exemplify(self, reason: str, text: str, documents: Sequence[str]) -> None:
        if sum(each.reason == reason for each in self._examples) < EXAMPLES:
            self._examples.append(Example(reason, text[:EXAMPLE_CHARS], tuple(documents)))
