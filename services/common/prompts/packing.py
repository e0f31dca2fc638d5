"""Chooses which passages a prompt holds: the most relevance for the tokens that there are (ADR 36)."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

# Less than this in common is a phrase that two texts share, and no overlap.
LEAST_OVERLAP = 40


@dataclass(frozen=True, slots=True)
class Passage:
    """What the model may answer from; `score` is its relevance, 0 to 1, where 0 leaves it to its rank."""

    title: str
    text: str
    score: float = 0.0


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a prompt with its tokens."""

    text: str
    token_ids: Sequence[int]


# Makes a passage, by its index, a part of the prompt; None where it is plainly too long.
Encode = Callable[[int, Passage], Piece | None]


def chosen(passages: Sequence[Passage], left: int, encode: Encode) -> Mapping[int, Piece]:
    """Return the passages to show, by index: the first, and of the others what is worth most within `left` tokens.

    Two greedy choices are made, by value for the tokens and by rank alone, and the one of more value is
    taken: the former lets a long passage give way to two short ones, the latter is right where one long
    passage outweighs whatever short ones would fill its place with. Empty where the first does not fit.
    """
    whole = {index: piece for index, passage in enumerate(passages) if (piece := encode(index, passage))}
    if not whole or 0 not in whole or len(whole[0].token_ids) > left:
        return {}
    values = {index: _value(index, passages[index]) for index in whole}
    by_value = sorted(whole, key=lambda index: (index > 0, -values[index] / max(1, len(whole[index].token_ids)), index))
    choices = [_taken(order, passages, whole, left, encode) for order in (sorted(whole), by_value)]
    return max(choices, key=lambda choice: sum(values[index] for index in choice))


def _value(index: int, passage: Passage) -> float:
    return passage.score if passage.score > 0 else 1 / (1 + index)


def _taken(
    order: Iterable[int], passages: Sequence[Passage], whole: Mapping[int, Piece], left: int, encode: Encode
) -> dict[int, Piece]:
    """Return what fits when passages are taken in this order; what one shares with another is shown once."""
    taken: dict[int, Piece] = {}
    shown: list[str] = []
    for index in order:
        text = _not_in(passages[index].text, shown)
        cut = text != passages[index].text
        piece = encode(index, replace(passages[index], text=text)) if cut else whole[index]
        if (cut and not text) or piece is None or len(piece.token_ids) > left:
            continue
        taken[index] = piece
        shown.append(text)
        left -= len(piece.token_ids)
    return taken


def _not_in(text: str, shown: Iterable[str]) -> str:
    """Return `text` without the beginning and the end that texts shown already have; "" where one has it whole."""
    for other in shown:
        if len(text) >= LEAST_OVERLAP and text in other:
            return ""
        text = text[_overlap(other, text) :]
        text = text[: len(text) - _overlap(text, other)]
    return text


def _overlap(first: str, second: str) -> int:
    """Return how many characters of the end of `first` are the beginning of `second`; 0 where they are few."""
    place = first.rfind(second[:LEAST_OVERLAP]) if len(second) >= LEAST_OVERLAP else -1
    return len(first) - place if place >= 0 and second.startswith(first[place:]) else 0
