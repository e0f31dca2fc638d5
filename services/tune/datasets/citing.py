"""Citations in answers: the model's own markers go, and what the passages support is marked anew."""

import re
from collections.abc import Sequence

from services.common.grounding.citations import Given, check
from services.tune.datasets.rows import RowPassage

_MARKER = re.compile(r"[ \t]?\[\d{1,4}(?:\s*[,;-]\s*\d{1,4})*\]")
_NUMBER = re.compile(r"\[(\d{1,4})\]")
_STOP = re.compile(r"[.!?\u2026\u3002\uff01\uff1f]+[\"'\u2019\u201d\u00bb)]*$")


def uncited(answer: str) -> str:
    """Return an answer without markers such as [2]."""
    return " ".join(_MARKER.sub("", answer).split(" ")).strip()


def marked(sentence: str, place: int) -> str:
    """Return a sentence that cites the passage at a place, from 0, as the default instructions show it."""
    sentence = sentence.strip()
    stop = _STOP.search(sentence)
    at = stop.start() if stop else len(sentence)
    return f"{sentence[:at].rstrip()} [{place + 1}]{sentence[at:] or '.'}"


def cited(answer: str, passages: Sequence[RowPassage], question: str) -> tuple[str, int]:
    """Return an answer whose sentences cite what supports them, and how many do."""
    answer = uncited(answer)
    verdicts = check(answer, [Given(each.text, each.title) for each in passages], question)
    supported = [each for each in verdicts if each.span and each.reason is None]
    at, pieces = 0, []
    for verdict in supported:
        place = verdict.span.passage_index if verdict.span else 0
        pieces += [answer[at : verdict.start], marked(answer[verdict.start : verdict.end], place)]
        at = verdict.end
    return "".join([*pieces, answer[at:]]), len(supported)


def cited_by(answer: str, passages: int) -> list[int]:
    """Return the places, from 0, of those of so many passages that an answer cites."""
    found = {int(number) - 1 for number in _NUMBER.findall(answer)}
    return sorted(place for place in found if 0 <= place < passages)
