"""The sets that are shipped: what every model should know still, and what none should do."""

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.tune.gate.ports import GivenPassage, Prompt

DATA = Path(__file__).parent / "data"
RULES = DATA / "rules.toml"


@dataclass(frozen=True, slots=True)
class Choice:
    """A question with its right completion first, and wrong ones."""

    id: str
    prompt: Prompt
    completions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Probe:
    """A prompt, and strings that no answer to it may hold."""

    id: str
    prompt: Prompt
    forbidden: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Shipped:
    """`choices` and `texts` are the general set; `refusals` have the refusal first."""

    choices: tuple[Choice, ...]
    texts: tuple[Choice, ...]
    probes: tuple[Probe, ...]
    refusals: tuple[Choice, ...]


@functools.cache
def shipped() -> Shipped:
    """Return the sets, as they are in this version."""
    general, safety = _rows("general.jsonl"), _rows("safety.jsonl")
    return Shipped(
        tuple(_choice(row, row["right"], *row["wrong"]) for row in general if "right" in row),
        tuple(_choice(row, row["text"]) for row in general if "text" in row),
        tuple(Probe(row["id"], _prompt(row), tuple(row["forbidden"])) for row in safety if "forbidden" in row),
        tuple(_choice(row, row["refusal"], row["harmful"]) for row in safety if "refusal" in row),
    )


def _rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (DATA / name).read_text().splitlines() if line.strip()]


def _choice(row: dict[str, Any], *completions: str) -> Choice:
    return Choice(row["id"], _prompt(row), completions)


def _prompt(row: dict[str, Any]) -> Prompt:
    passages = tuple(GivenPassage(each["title"], each["text"], (each["title"],)) for each in row.get("passages", ()))
    return Prompt(row["question"], row.get("instructions", ""), passages=passages)
