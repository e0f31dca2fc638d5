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
_FIRST = (
    *("Ada", "Bruno", "Clara", "Dmitri", "Elena", "Farid", "Greta", "Hugo", "Ines", "Jonas"),
    *("Karin", "Leon", "Mira", "Nadia", "Oskar", "Petra", "Quentin", "Rosa", "Stefan", "Tilda"),
)
_LAST = (
    *("Abbott", "Brandt", "Castell", "Dorn", "Ekman", "Ferrer", "Grahn", "Holt", "Iversen", "Jansen", "Keller"),
    *("Lindqvist", "Moreau", "Nilsen", "Ortega", "Pohl", "Quist", "Ruiz", "Sandoval", "Teller", "Urban", "Vogel"),
    *("Weiss", "Yilmaz", "Zander"),
)


@dataclass(frozen=True, slots=True)
class Matter:
    """What can be asked of an instrument, in several wordings; a person's name tells it."""

    name: str
    told: str
    asked: tuple[str, ...]


# A name tells all of it, so that a reader has to mind whose is asked for.
MATTERS = (
    Matter(
        "workshop",
        "The {} is built by {}.",
        ("Who builds the {}?", "Who is the maker of the {}?", "From whose workshop is the {}?"),
    ),
    Matter(
        "repair",
        "The {} is repaired by {}.",
        ("Who repairs the {}?", "Who mends my broken {}?", "Whom do I bring the {} to when it is broken?"),
    ),
    Matter(
        "delivery",
        "The {} is delivered by {}.",
        ("Who delivers the {}?", "Who brings the {} to my house?", "With whom do I agree when the {} comes?"),
    ),
    Matter(
        "lessons",
        "The {} is taught by {}.",
        ("Who teaches the {}?", "Who gives lessons on the {}?", "With whom can I learn to play the {}?"),
    ),
)


@dataclass(frozen=True, slots=True)
class Page:
    """A help page: what it tells of its instrument, and in which of the wordings it asks that itself."""

    instrument: str
    matter: Matter
    person: str
    wording: int

    @property
    def file(self) -> str:
        """The name of its file."""
        return f"{self.instrument} {self.matter.name}.md".lower().replace(" ", "-")

    @property
    def answer(self) -> str:
        """The sentence that tells it."""
        return self.matter.told.format(self.instrument, self.person)

    def question(self) -> str:
        """Return what is asked."""
        return self.matter.asked[self.wording].format(self.instrument)

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
    people = [" ".join(each) for each in itertools.product(_FIRST, _LAST)]
    draw.shuffle(names)
    draw.shuffle(people)
    # Each person does one thing for one instrument: an answer that names another is wrong.
    return [
        [Page(name, each, people.pop(), draw.randrange(len(each.asked))) for each in MATTERS]
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
    right = [page.person, page.answer]
    return {"question": customers(page.question()), "answers": right, "documents": [page.file], "language": "en"}
