"""Whether a data set is fit to learn from, and why not."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from services.tune.datasets.counting import StepReport
from services.tune.datasets.rows import Kind, Row
from services.tune.datasets.splitting import TEST, TRAIN

# With fewer rows there is nothing to generalise from, and with fewer test rows an interval says nothing. Zhou et
# al. 2023 (arXiv:2305.11206) have 1,000 careful rows as plenty for SFT; these are the least, not what is good.
LEAST_TRAIN = {Kind.SFT: 20, Kind.KTO: 20, Kind.DPO: 20, Kind.GRPO: 10}
LEAST_TEST = 5
# Ethayarajh et al. 2024 (arXiv:2402.01306) find KTO to hold with one good row for nine bad ones, not beyond.
LEAST_LABEL_SHARE = 0.1
# What loses more to broken encodings, lengths and languages is not what it was taken for.
MOST_BROKEN_SHARE = 0.5
# All but a few rows from one rater teach one person's taste.
MOST_OF_ONE_RATER = 0.8
_RATERS = 3
_BREAKING = ("encodings", "length", "language")


@dataclass(frozen=True, slots=True)
class Verdict:
    """`reasons` are why it is not fit; `warnings` are to be looked at."""

    reasons: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def fit(self) -> bool:
        """Return whether a run may learn from it."""
        return not self.reasons


def verdict_of(kind: Kind, splits: Mapping[str, Sequence[Row]], steps: Sequence[StepReport]) -> Verdict:
    """Return what is to be said of a data set."""
    return Verdict(tuple(_reasons(kind, splits, steps)), tuple(_warnings(kind, splits)))


def _reasons(kind: Kind, splits: Mapping[str, Sequence[Row]], steps: Sequence[StepReport]) -> Iterator[str]:
    train, test = splits[TRAIN], splits[TEST]
    if len(train) < LEAST_TRAIN[kind]:
        yield f"{len(train)} rows to learn from, and {LEAST_TRAIN[kind]} are needed"
    if len(test) < LEAST_TEST:
        yield f"{len(test)} rows to measure on, and {LEAST_TEST} are needed"
    if kind is Kind.KTO and train:
        good = sum(row.label for row in train) / len(train)
        if not LEAST_LABEL_SHARE <= good <= 1 - LEAST_LABEL_SHARE:
            yield f"{good:.0%} of the rows to learn from are good answers: 10% to 90% are needed"
    for step in steps:
        if step.name in _BREAKING and step.rows_in and step.rows_out < step.rows_in * MOST_BROKEN_SHARE:
            yield f"{step.rows_in - step.rows_out} of {step.rows_in} rows were dropped for their {step.name}"


def _warnings(kind: Kind, splits: Mapping[str, Sequence[Row]]) -> Iterator[str]:
    train = splits[TRAIN]
    if kind is Kind.SFT and train and not any(row.passages for row in train):
        yield "no row has passages: a model does not learn from them to answer from passages"
    raters = [rater for row in train for rater in row.raters]
    if raters:
        most = max(raters.count(rater) for rater in set(raters))
        if len(set(raters)) < _RATERS or most > MOST_OF_ONE_RATER * len(raters):
            yield f"nearly all was rated by few: {len(set(raters))} raters, one of them {most} times"
    if kind is Kind.GRPO and train and not any(row.answers for row in train):
        yield "no right answer is known: only rules and the reward model can judge"
