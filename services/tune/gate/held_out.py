"""What a candidate makes of rows that it has not learnt from: preferences, completions, or questions to answer."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from services.common.evaluation.answers import Gold, Part
from services.tune.domain.gate_rules import (
    HELD_OUT,
    HELD_OUT_LIKELIHOOD,
    PREFERENCE_ACCURACY,
    PREFERENCE_MARGIN,
)
from services.tune.gate.answering import measured_answer
from services.tune.gate.contest import Contest, drawn
from services.tune.gate.measuring import Item, Parts
from services.tune.gate.ports import GivenPassage, Likelihood, Prompt, Rows

STAGE = "measuring rows held out"
# What an engine scores at most.
MAX_COMPLETION_CHARS = 8_000
# Times an equal share that a rater may have where raters are few.
FEW = 2

Row = Mapping[str, Any]


async def measured(contest: Contest, held_out: Rows) -> list[Item]:
    """Return what both make of the rows; those that no prompt holds are left out."""
    if held_out.kind == "grpo":
        return await _answered(contest, held_out.rows)
    rows = _chosen(held_out, contest.rules.items.held_out)
    weights = weights_of(rows, contest.rules.rater_share)
    measure = _measure_of(held_out.kind, rows, weights)
    if measure is None:
        return []

    async def scored(row: Row) -> Item | None:
        completions = _completions(row)
        both = await contest.both(lambda who: contest.score(who, prompt_of(row), completions))
        return _item(row, *(measure(row, each) for each in both)) if both else None

    return [item for item in await contest.each(STAGE, rows, scored) if item]


def prompt_of(row: Row) -> Prompt:
    """Return what a row asks."""
    return Prompt(
        question=row["question"],
        instructions=row.get("instructions") or "",
        history=tuple((turn["question"], turn["answer"]) for turn in row.get("history") or ()),
        passages=tuple(
            GivenPassage(passage.get("title") or "", passage["text"], (passage.get("document_id") or "",))
            for passage in row.get("passages") or ()
        ),
        # It may hold anything that the run's caller may read.
        restricted=True,
        language=row.get("language") or "",
    )


def weights_of(rows: Sequence[Row], share: float) -> dict[str, float]:
    """Return each row's weight by id, so that no rater has more than `share` of what all raters have.

    Where they are few, twice an equal share: to make few raters equal would give those who rated little, or
    were paid to, more weight than they have. A row of several raters counts as the one of them does who is
    cut most; rows that nobody rated keep their weight.
    """
    own = {row["id"]: max(0.0, float(row.get("weight") or 1.0)) for row in rows}
    totals: defaultdict[str, float] = defaultdict(float)
    for row in rows:
        for rater in row.get("raters") or ():
            totals[rater] += own[row["id"]]
    limit = _limit(list(totals.values()), max(share, FEW / len(totals))) if totals else 0.0
    scale = {rater: min(1.0, limit / total) if total else 1.0 for rater, total in totals.items()}
    return {
        row["id"]: own[row["id"]] * min((scale[each] for each in row.get("raters") or ()), default=1.0) for row in rows
    }


def _limit(totals: Sequence[float], share: float) -> float:
    """Return the weight that is `share` of the sum once nobody has more than it."""
    descending = sorted(totals, reverse=True)
    for cut in range(len(descending)):
        # With the `cut` largest held to the limit, limit = share * (cut * limit + the rest).
        if cut * share >= 1:
            break
        limit = share * sum(descending[cut:]) / (1 - cut * share)
        if descending[cut] <= limit:
            return limit if cut else descending[0]
    return descending[-1]


def _chosen(held_out: Rows, limit: int) -> list[Row]:
    rows = [row for row in held_out.rows if _is_scorable(row)]
    if held_out.kind != "kto":
        return drawn(rows, _id, limit)
    # Of both kinds alike, as far as there are enough.
    good, bad = [row for row in rows if row["label"]], [row for row in rows if not row["label"]]
    half = limit // 2
    return [
        *drawn(good, _id, max(half, limit - len(bad))),
        *drawn(bad, _id, max(limit - half, limit - len(good))),
    ][: limit or 0]


def _id(row: Row) -> str:
    return str(row["id"])


def _is_scorable(row: Row) -> bool:
    return all(0 < len(text) <= MAX_COMPLETION_CHARS for text in _completions(row))


def _completions(row: Row) -> list[str]:
    if "chosen" in row:
        return [row["chosen"], row["rejected"]]
    return [row["completion"]]


Measure = Callable[[Row, Sequence[Likelihood]], Parts]


def _measure_of(kind: str, rows: Sequence[Row], weights: Mapping[str, float]) -> Measure | None:
    """Return what makes a row's parts of its completions' likelihoods; None where the rows can say nothing."""
    if kind == "dpo":
        return lambda row, found: _of_pair(found, weights[row["id"]])
    if kind == "kto" and {bool(row["label"]) for row in rows} == {True, False}:
        return _of_labels(rows, weights)
    # Of answers found good alone, as of completions to imitate, more is better. Of bad ones alone nothing can
    # be told: whoever finds everything unlikely finds these so too.
    if all(row.get("label", True) for row in rows):
        return lambda row, found: {HELD_OUT_LIKELIHOOD: _weighted(found[0].mean, weights[row["id"]])}
    return None


def _of_pair(found: Sequence[Likelihood], weight: float) -> Parts:
    margin = found[0].mean - found[1].mean
    return {
        PREFERENCE_MARGIN: _weighted(margin, weight),
        PREFERENCE_ACCURACY: _weighted(float(margin > 0), weight),
    }


def _of_labels(rows: Sequence[Row], weights: Mapping[str, float]) -> Measure:
    """Return a measure whose ratio of sums is the mean likelihood of what was found good, less that of what was not.

    Both count the same, however many there are: else whoever finds everything likelier, or less likely, would
    seem to prefer something.
    """
    sums = {label: sum(weights[row["id"]] for row in rows if bool(row["label"]) is label) for label in (True, False)}

    def parts(row: Row, found: Sequence[Likelihood]) -> Parts:
        label = bool(row["label"])
        weight = weights[row["id"]] / (2 * sums[label]) if sums[label] else 0.0
        return {PREFERENCE_MARGIN: ((1 if label else -1) * weight * found[0].mean, weight / 2)}

    return parts


def _weighted(value: float, weight: float) -> Part:
    return value * weight, weight


def _item(row: Row, live: Parts, candidate: Parts) -> Item:
    raters, conversation = sorted(row.get("raters") or ()), row.get("conversation") or ""
    group = f"rater {raters[0]}" if raters else conversation and f"conversation {conversation}"
    return Item(HELD_OUT, str(row["id"]), live, candidate, group)


async def _answered(contest: Contest, rows: Sequence[Row]) -> list[Item]:
    chosen = drawn(
        [row for row in rows if row.get("answers") or not row["answerable"]], _id, contest.rules.items.held_out
    )

    async def answered(row: Row) -> Item | None:
        gold = Gold(tuple(row.get("answers") or ()), (), bool(row["answerable"]), row.get("language") or "")
        both = await measured_answer(contest, HELD_OUT, prompt_of(row), gold)
        return _item(row, *both) if both else None

    return [item for item in await contest.each(STAGE, chosen, answered) if item]
