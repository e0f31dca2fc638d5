"""A company that hires out instruments, made up: no model can know it, and a seed makes it anew."""

import itertools
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HELP, CATALOGUE = "help", "catalogue"
QUESTIONS, GOLDEN = "questions.jsonl", "golden.jsonl"
_COLOURS = ("Amber", "Crimson", "Golden", "Silver", "Violet", "Scarlet", "Copper", "Ivory", "Indigo", "Cobalt")
_ANIMALS = ("Falcon", "Panther", "Dolphin", "Badger", "Sparrow", "Lizard", "Beetle", "Walrus", "Hornet", "Salmon")


@dataclass(frozen=True, slots=True)
class Matter:
    """What can be asked of an instrument, in several wordings; it is told in days, `most` of them."""

    name: str
    most: int
    told: str
    asked: tuple[str, ...]


# All is told in days, so that a reader has to mind which of them are asked for.
MATTERS = (
    Matter(
        "delivery",
        20,
        "The delivery of the {} takes {} days.",
        ("How soon can I have the {}?", "How long does the delivery of the {} take?", "When will the {} be here?"),
    ),
    Matter(
        "battery",
        90,
        "The battery of the {} lasts {} days.",
        (
            "How long does the {} run on battery?",
            "How long does the battery of the {} last?",
            "When does the {} have to be charged again?",
        ),
    ),
    Matter(
        "warranty",
        900,
        "The warranty of the {} lasts {} days.",
        (
            "How long is the {} guaranteed?",
            "How long does the warranty of the {} last?",
            "Until when are defects of the {} on you?",
        ),
    ),
    Matter(
        "repair",
        40,
        "A repair of the {} takes {} days.",
        (
            "When is my broken {} mended?",
            "How long does a repair of the {} take?",
            "How long is the {} in the workshop?",
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class Page:
    """A help page: what it tells of its instrument, and in which of the wordings it asks that itself."""

    instrument: str
    matter: Matter
    days: int
    wording: int

    @property
    def file(self) -> str:
        """The name of its file."""
        return f"{self.instrument} {self.matter.name}.md".lower().replace(" ", "-")

    @property
    def answer(self) -> str:
        """The sentence that tells it."""
        return self.matter.told.format(self.instrument, self.days)

    def question(self, turn: int = 0) -> str:
        """Return what is asked; with `turn`, in another wording."""
        asked = self.matter.asked
        return asked[(self.wording + turn) % len(asked)].format(self.instrument)

    def text(self) -> str:
        """Return it as a help centre writes."""
        return f"# {self.instrument}: {self.matter.name}\n\n**{self.question()}**\n{self.answer}\n"


def customers(question: str) -> str:
    """Return a question as customers put it."""
    return f"Can you tell me: {question[0].lower()}{question[1:]}"


def pages(instruments: int, seed: int) -> list[list[Page]]:
    """Return the pages of so many instruments, by instrument."""
    draw = random.Random(seed)  # sampling, no secret  # noqa: S311  # nosec B311
    names = [" ".join(each) for each in itertools.product(_COLOURS, _ANIMALS)]
    draw.shuffle(names)
    return [
        [Page(name, each, draw.randint(2, each.most), draw.randrange(len(each.asked))) for each in MATTERS]
        for name in names[:instruments]
    ]


def write(folder: Path, learnt: int, golden: int, held_out: int, seed: int) -> None:
    """Write a company: help pages to learn from, and a catalogue of other instruments with questions on them.

    GOLDEN are questions on instruments that the gate asks about, QUESTIONS on those that nobody has seen before.
    """
    found = pages(learnt + golden + held_out, seed)
    known, judged, unseen = found[:learnt], found[learnt : learnt + golden], found[learnt + golden :]
    for name, instruments in ((HELP, known), (CATALOGUE, [*judged, *unseen])):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for page in itertools.chain.from_iterable(instruments):
            (folder / name / page.file).write_text(page.text())
    _write_questions(folder / GOLDEN, judged)
    _write_questions(folder / QUESTIONS, unseen)


def _write_questions(file: Path, instruments: Sequence[Sequence[Page]]) -> None:
    rows = map(_asked, itertools.chain.from_iterable(instruments))
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def _asked(page: Page) -> dict[str, Any]:
    right = [f"{page.days} days", page.answer]
    return {"question": customers(page.question()), "answers": right, "documents": [page.file], "language": "en"}
