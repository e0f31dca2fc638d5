"""The dense leg's share, learnt from questions whose right documents are known."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from services.common.errors import InvalidArgument
from services.retrieve.domain.fusion import Legs

MAX_JUDGEMENTS = 200
MAX_RIGHT = 100
# Under it a share is learnt from chance.
MIN_USED = 30
SHARES = tuple(round(0.05 * step, 2) for step in range(21))
# Of the mean difference: a share that is not better by so many standard errors is not better beyond doubt.
STANDARD_ERRORS = 2.0

_Scores = npt.NDArray[np.float64]


class InvalidJudgements(InvalidArgument):
    """No question, too many, or one without a right document."""

    reason = "INVALID_JUDGEMENTS"


@dataclass(frozen=True, slots=True)
class Judged:
    """A question as it was searched: what the legs said of its candidates, which are right, and its share now."""

    legs: Legs
    documents: Sequence[str]
    right: Collection[str]
    dense_share: float


@dataclass(frozen=True, slots=True)
class Learnt:
    """A share that is better than what the evidence gives, or None; and the mean reciprocal ranks with and without."""

    dense_share: float | None
    used: int
    learnt_quality: float
    quality: float


def learn_share(judged: Sequence[Judged]) -> Learnt:
    """Return the share that ranks right documents best, where it does so on questions that it was not chosen by.

    Questions of which no right document is among the candidates tell nothing, and are left out.
    """
    used = [one for one in judged if not set(one.right).isdisjoint(one.documents)]
    if not used:
        return Learnt(None, 0, 0.0, 0.0)
    by_share: _Scores = np.array([[_reciprocal_rank(one, share) for one in used] for share in SHARES])
    now: _Scores = np.array([_reciprocal_rank(one, one.dense_share) for one in used])
    best = int(by_share.mean(axis=1).argmax())
    learnt, quality = float(by_share[best].mean()), float(now.mean())
    if len(used) < MIN_USED or not _better(_held_out(by_share) - now):
        return Learnt(None, len(used), learnt, quality)
    return Learnt(SHARES[best], len(used), learnt, quality)


def check_judgements(judgements: Sequence[tuple[str, Collection[str]]]) -> None:
    """Raise InvalidJudgements where nothing can be learnt from them."""
    if not 0 < len(judgements) <= MAX_JUDGEMENTS:
        raise InvalidJudgements("1 to 200 questions can be learnt from", questions=len(judgements))
    if any(not 0 < len(right) <= MAX_RIGHT for _, right in judgements):
        raise InvalidJudgements("a question has 1 to 100 right documents")


def _reciprocal_rank(one: Judged, share: float) -> float:
    scores = one.legs.scores(share)
    ranking = sorted(range(len(scores)), key=lambda number: -scores[number])
    documents = list(dict.fromkeys(one.documents[number] for number in ranking))
    return next((1 / rank for rank, document in enumerate(documents, 1) if document in one.right), 0.0)


def _held_out(by_share: _Scores) -> _Scores:
    """Return each question's quality with the share that is best for the other half."""
    quality = np.zeros(by_share.shape[1])
    for half in (0, 1):
        chosen = by_share[:, 1 - half :: 2].mean(axis=1).argmax()
        quality[half::2] = by_share[chosen, half::2]
    return quality


def _better(differences: _Scores) -> bool:
    error = differences.std(ddof=1) / len(differences) ** 0.5
    return bool(differences.mean() > STANDARD_ERRORS * error and differences.mean() > 0)
