"""Rows and ratings with the few facts that a test is about."""

import hashlib

from services.tune.datasets.building import Gathered, Tools, build
from services.tune.datasets.clean.lengths import Characters, Lengths
from services.tune.datasets.parameters import Parameters
from services.tune.datasets.rated import Rated
from services.tune.datasets.rows import Kind, Row, RowPassage

_SYLLABLES = ("ba", "ke", "ni", "to", "mu", "ra", "se", "vi", "do", "lu", "za", "pe", "gi", "ho", "fy", "cra")


def about(number: int) -> str:
    """Return a subject that is like no other number's."""
    digits = hashlib.sha256(str(number).encode()).hexdigest()
    words = (digits[start : start + 4] for start in (0, 4, 8))
    return " ".join("".join(_SYLLABLES[int(digit, 16)] for digit in word) for word in words)


def row(number: int, **own) -> Row:
    subject = about(number)
    facts = {
        "question": f"What does the {subject} cost?",
        "completion": f"The {subject} costs {number + 10} euros [1].",
        "passages": (RowPassage(f"d{number}", f"Price {number}", f"The {subject} costs {number + 10} euros."),),
        "documents": (f"d{number}",),
        "at": f"2026-10-{1 + number % 28:02}T10:00:00+00:00",
        "source": "shop",
    }
    return Row(**{**facts, **own})


def rated(number: int, rater: str, *, up: bool = True, **own) -> Rated:
    base = row(number)
    facts = {
        "rating_id": f"r-{number}-{rater}",
        "interaction_id": f"i-{number}",
        "conversation": f"c-{number}",
        "rater": rater,
        "asker": rater,
        "up": up,
        "correction": "",
        "rated_at": "2026-10-02T10:05:00+00:00",
        "asked_at": "2026-10-02T10:00:00+00:00",
        "question": base.question,
        "answer": base.completion.replace(" [1]", ""),
        "abstained": False,
        "passages": base.passages,
        "documents": base.documents,
        "language": "en",
        "source": "shop",
    }
    return Rated(**{**facts, **own})


def lengths(limit: int = 2048) -> Lengths:
    return Lengths(Characters(), limit, "units of 4 characters")


def built(kind: Kind = Kind.SFT, **own):
    """Build a data set without looking for personal data."""
    parameters = own.pop("parameters", Parameters())
    origins = own.pop("origins", ("upload",))
    tools = Tools(lengths(parameters.max_tokens), "", own.pop("personal", None), {"name_languages": []})
    return build(Gathered(kind, parameters, origins, **own), tools)


def step_of(report, name: str):
    """Return the count of one step."""
    [found] = [each for each in report["steps"] if each["name"] == name]
    return found
