"""When a reranker is good enough: its weight is chosen on some questions, and it is measured on others."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.common.evaluation.bootstrap import difference
from services.common.evaluation.measures import retrieval_scores
from services.common.rerankers import blended
from services.tune.domain.data import Mined

CUTOFF = 10
MEASURE = f"nDCG@{CUTOFF}"
WEIGHTS = tuple(round(step / 10, 1) for step in range(1, 11))


@dataclass(frozen=True, slots=True)
class Contest:
    """A question with the candidate's scores of its passages, and its documents in the order that is live."""

    mined: Mined
    scores: Sequence[float]
    live: Sequence[str]

    def reranked(self, weight: float) -> list[str]:
        """Return the documents, best first, with so much of the candidate's scores beside the fused ones."""
        found = self.mined.candidates
        values = blended([each.score for each in found], self.scores, weight)
        return [found[place].document_id for place in sorted(range(len(found)), key=lambda each: -values[each])]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was measured on questions held out: mean nDCG@10, and the 95% interval of the difference."""

    passed: bool
    weight: float
    live: float
    candidate: float
    low: float
    high: float


def judged(tuned: Sequence[Contest], held_out: Sequence[Contest]) -> Verdict:
    """Choose the weight on `tuned`, and measure it on `held_out`.

    A candidate passes where the whole interval of its difference is above 0: chance alone would show
    that in one case of forty.
    """
    weight = chosen_weight(tuned)
    live = _qualities(held_out, [each.live for each in held_out])
    candidate = _qualities(held_out, [each.reranked(weight) for each in held_out])
    gained = difference((live, None), (candidate, None))
    low, high = (gained.low, gained.high) if gained else (0.0, 0.0)
    return Verdict(low > 0, weight, _mean(live), _mean(candidate), low, high)


def chosen_weight(tuned: Sequence[Contest]) -> float:
    """Return the smallest of the weights that rank `tuned` best."""
    quality = {weight: _mean(_qualities(tuned, [each.reranked(weight) for each in tuned])) for weight in WEIGHTS}
    return max(WEIGHTS, key=lambda weight: (round(quality[weight], 6), -weight))


def _qualities(contests: Sequence[Contest], orders: Sequence[Sequence[str]]) -> list[float]:
    relevant = {str(number): dict.fromkeys(each.mined.right_documents(), 1) for number, each in enumerate(contests)}
    found = {str(number): order for number, order in enumerate(orders)}
    scores = retrieval_scores(relevant, found, CUTOFF)[MEASURE]
    return [scores[name] for name in relevant]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
