"""One row of a data set: what a model is shown, and what is known of its answer."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Any

import orjson

from services.common.prompts.packing import Passage
from services.common.prompts.prompt import Draft, Turn

FORMAT = 1
_ID_DIGITS = 24


class Kind(StrEnum):
    """What a data set's rows can teach."""

    SFT = "sft"
    KTO = "kto"
    DPO = "dpo"
    GRPO = "grpo"


@dataclass(frozen=True, slots=True)
class RowPassage:
    """A passage that stands in the prompt."""

    document_id: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Row:
    """One example, of any kind; what its kind does not have is empty.

    `at` is an ISO time or ""; `passages` come best first, and are cited by their place, from 1.
    `completion` is of SFT and KTO, `label` of KTO, `chosen` and `rejected` of DPO, `answers` (the right
    ones, if known) and `answerable` of GRPO. `people` and `interactions` go into the lineage alone.
    """

    question: str
    id: str = ""
    conversation: str = ""
    at: str = ""
    source: str = ""
    language: str = ""
    history: tuple[Turn, ...] = ()
    passages: tuple[RowPassage, ...] = ()
    instructions: str = ""
    documents: tuple[str, ...] = ()
    raters: tuple[str, ...] = ()
    weight: float = 1.0
    completion: str = ""
    label: bool = True
    chosen: str = ""
    rejected: str = ""
    answers: tuple[str, ...] = ()
    answerable: bool = True
    people: tuple[str, ...] = ()
    interactions: tuple[str, ...] = ()

    @property
    def told(self) -> tuple[str, ...]:
        """Return every answer that the row holds, right or wrong."""
        return tuple(filter(None, (self.completion, self.chosen, self.rejected, *self.answers)))

    @property
    def right(self) -> str:
        """Return the answer that it teaches; "" where it has none."""
        if self.completion:
            return self.completion if self.label else ""
        return self.chosen or next(iter(self.answers), "")

    @property
    def text(self) -> str:
        """Return question and answers as one text."""
        return "\n".join((self.question, *self.told))

    def draft(self) -> Draft:
        """Return what the prompt is packed from, as the engine's is."""
        passages = [Passage(each.title, each.text) for each in self.passages]
        return Draft(self.instructions, self.history, passages, self.question)

    def mapped(self, change: Callable[[str], str]) -> "Row":
        """Return the row with every text of it changed."""
        return replace(
            self,
            question=change(self.question),
            history=tuple(Turn(change(each.question), change(each.answer)) for each in self.history),
            passages=tuple(replace(each, title=change(each.title), text=change(each.text)) for each in self.passages),
            instructions=change(self.instructions),
            completion=change(self.completion),
            chosen=change(self.chosen),
            rejected=change(self.rejected),
            answers=tuple(map(change, self.answers)),
        )


# What every row has, whatever its kind, in the order of the columns.
COMMON = (
    "id",
    "conversation",
    "at",
    "source",
    "language",
    "question",
    "history",
    "passages",
    "instructions",
    "documents",
    "raters",
    "weight",
)
OWN = {
    Kind.SFT: ("completion",),
    Kind.KTO: ("completion", "label"),
    Kind.DPO: ("chosen", "rejected"),
    Kind.GRPO: ("answers", "answerable"),
}
_ALL = tuple(each.name for each in fields(Row))


def columns_of(kind: Kind) -> tuple[str, ...]:
    """Return the columns of a kind's files."""
    return COMMON + OWN[kind]


def record_of(row: Row, columns: Iterable[str] = _ALL) -> dict[str, Any]:
    """Return a row as JSON has it: all of it, or some columns."""
    return {name: _plain(getattr(row, name)) for name in columns}


def row_of(record: Mapping[str, Any]) -> Row:
    """Return a row from what `record_of` made, or from a row of a file."""
    values = {name: _value(name, record[name]) for name in _ALL if name in record}
    return Row(**values)


def identified(row: Row, kind: Kind) -> Row:
    """Return the row with the id that its content has."""
    content = record_of(replace(row, id=""), columns_of(kind))
    return replace(row, id=hashlib.sha256(canonical(content)).hexdigest()[:_ID_DIGITS])


def canonical(value: Any) -> bytes:
    """Return the one JSON text of a value."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def digest_of(kind: Kind, parameters: Mapping[str, Any], splits: Mapping[str, Iterable[Mapping[str, Any]]]) -> str:
    """Return the SHA-256, hex, of a data set: its kind, how it was built, and its rows, in whatever order they are.

    `splits` has the rows of each part as its file has them.
    """
    whole = hashlib.sha256(canonical({"format": FORMAT, "kind": kind.value, "parameters": parameters}))
    for name in sorted(splits):
        whole.update(b"\n" + name.encode())
        for line in sorted(map(canonical, splits[name])):
            whole.update(b"\n" + line)
    return whole.hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    if isinstance(value, Turn):
        return {"question": value.question, "answer": value.answer}
    if isinstance(value, RowPassage):
        return {"document_id": value.document_id, "title": value.title, "text": value.text}
    return value


def _value(name: str, value: Any) -> Any:
    if name == "history":
        return tuple(Turn(each["question"], each["answer"]) for each in value)
    if name == "passages":
        return tuple(RowPassage(each["document_id"], each["title"], each["text"]) for each in value)
    return tuple(value) if isinstance(value, list) else value
