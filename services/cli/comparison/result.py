"""What a comparison found: each way's figures, how every two ways differ, and what may be said of it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.cli.comparison import judging
from services.cli.comparison.freshness import Freshness
from services.cli.comparison.judging import Judged
from services.cli.comparison.prices import Prices
from services.cli.comparison.ways import PAIRS, WAYS
from services.cli.evaluation.outcomes import Outcome
from services.cli.evaluation.report import Evaluated, Report, Score
from services.cli.evaluation.running import Run
from services.common.evaluation.answers import Part
from services.common.evaluation.bootstrap import Difference, Estimate
from services.common.evaluation.results import by_measure, differences, figures

FIRST_TOKEN, TOTAL = "first token, s", "whole answer, s"
READ, WRITTEN = "tokens read", "tokens written"
COST = "cost of 1,000"
DECIMALS = {FIRST_TOKEN: 2, TOTAL: 2, READ: 1, WRITTEN: 1}
# What questions are sorted by, and what decides: the first that every way has.
DECIDING = ("F1", judging.MEASURE)

Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Standing:
    """Measures of the four ways, and by every two ways how much higher the second is than the first."""

    figures: Mapping[str, Mapping[str, Estimate]]
    differences: Mapping[Pair, Mapping[str, Difference]]

    @property
    def measures(self) -> list[str]:
        """Return the measures that something is known of, in the order of the way that has most of them."""
        ways = sorted(self.figures.values(), key=len, reverse=True)
        return list(dict.fromkeys(measure for way in ways for measure in way))

    def decimals(self, measure: str) -> int:
        """Return how many decimals a measure is shown with: of costs as many as show three digits of the highest."""
        if measure != COST:
            return DECIMALS.get(measure, 3)
        most = max((way[measure].value for way in self.figures.values() if measure in way), default=0.0)
        return max(2, 2 - math.floor(math.log10(most))) if most > 0 else 2

    def between(self, first: str, second: str, measure: str) -> Difference | None:
        """Return how much higher `second` is than `first`, whichever of them comes first in PAIRS."""
        if (first, second) in self.differences:
            return self.differences[first, second].get(measure)
        found = self.differences.get((second, first), {}).get(measure)
        if found is None:
            return None
        return Difference(-found.value, -found.high, -found.low, found.p_value, found.count)


@dataclass(frozen=True, slots=True)
class Comparison:
    """The four ways on one set. `quality` holds them in the order of WAYS; `asked` questions were asked."""

    assistant: str
    adapter: str
    digest: str
    asked: int
    quality: Report
    spending: tuple[Evaluated, ...]
    standing: Standing
    costs: Standing
    prices: Prices | None
    judged: Judged | None
    freshness: Freshness

    @property
    def deciding(self) -> str:
        """Return the measure that decides; "" where no measure says something of all four."""
        return deciding(self.standing)

    @property
    def questions(self) -> int:
        """Return how many questions every way answered."""
        return len(self.quality.evaluated[0].run.answered)


def deciding(standing: Standing) -> str:
    """Return the measure that decides; "" where no measure says something of all four."""
    return next((name for name in DECIDING if all(name in standing.figures[way] for way in WAYS)), "")


def shared(runs: Mapping[str, Run]) -> dict[str, Run]:
    """Return the runs without the answers to questions that failed in some way: all ways are held to the same ones."""
    ids = set.intersection(*({outcome.question.id for outcome in run.answered} for run in runs.values()))
    return {
        name: Run(tuple(each for each in run.outcomes if each.error or each.question.id in ids), run.is_whole)
        for name, run in runs.items()
    }


def worth(runs: Mapping[str, Run], score: Score, judgements: Judged | None) -> tuple[Evaluated, ...]:
    """Return what each way's answers are worth."""
    found = []
    for name, run in runs.items():
        parts = score(run.answered)
        if judgements:
            parts = {**parts, judging.MEASURE: judgements.parts.get(name, {})}
        found.append(Evaluated(name, run, parts, figures(parts)))
    return tuple(found)


def spent(runs: Mapping[str, Run], prices: Prices | None) -> tuple[Evaluated, ...]:
    """Return what each way's answers took."""
    found = []
    for name, run in runs.items():
        parts = by_measure({outcome.question.id: _spent(outcome, prices) for outcome in run.answered})
        found.append(Evaluated(name, run, parts, figures(parts)))
    return tuple(found)


def standing_of(evaluated: Sequence[Evaluated]) -> Standing:
    """Return how the ways stand to each other."""
    by_name = {each.name: each for each in evaluated}
    return Standing(
        {each.name: each.figures for each in evaluated},
        {(one, other): differences(by_name[one].parts, by_name[other].parts) for one, other in PAIRS},
    )


def _spent(outcome: Outcome, prices: Prices | None) -> dict[str, Part]:
    if outcome.reply is None:
        return {}
    usage = outcome.reply.usage
    parts = {
        FIRST_TOKEN: (usage.first_token_ms / 1000, 1.0),
        TOTAL: (outcome.seconds, 1.0),
        READ: (float(usage.prompt_tokens), 1.0),
        WRITTEN: (float(usage.completion_tokens), 1.0),
    }
    return parts | ({COST: (prices.of_a_thousand(outcome), 1.0)} if prices else {})
