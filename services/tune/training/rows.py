"""Rows of a data set, those that have a prompt, and the order in which they are learnt from."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Example:
    """A row with its prompt; `passages` are the indexes of the row's passages that the prompt shows."""

    row: Row
    prompt_ids: list[int]
    passages: tuple[int, ...]


def order_of(weights: Sequence[float], epochs: int, seed: int) -> list[int]:
    """Return the rows of all epochs in the order in which they are learnt from.

    A row of less weight than the heaviest is in fewer epochs: it is in each with the probability of its share.
    """
    heaviest = max(weights, default=0.0)
    found: list[int] = []
    for epoch in range(epochs):
        source = random.Random(f"{seed}/{epoch}")  # sampling, no secret  # noqa: S311  # nosec B311
        rows = [number for number, weight in enumerate(weights) if source.random() * heaviest < weight]
        source.shuffle(rows)
        found += rows
    return found
