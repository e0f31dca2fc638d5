"""From what was gathered to a data set: assembled, cleaned step by step, parted, judged, and written."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from services.tune.datasets.clean.leakage import Golden, Leakage
from services.tune.datasets.clean.lengths import Lengths
from services.tune.datasets.clean.raters import agreeing_ratings, capped_ratings, read_ratings
from services.tune.datasets.clean.steps import Contradictions, Duplicates, Encodings, Languages, Step
from services.tune.datasets.counting import StepReport, Tally
from services.tune.datasets.errors import DatasetEmpty
from services.tune.datasets.parameters import Parameters
from services.tune.datasets.rated import Rated, rows_of
from services.tune.datasets.report import report_of, with_verdict
from services.tune.datasets.rows import Kind, Row, canonical, columns_of, digest_of, identified, record_of
from services.tune.datasets.splitting import split
from services.tune.datasets.store import Card
from services.tune.datasets.verdict import verdict_of

Tell = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class Gathered:
    """What a build begins with. `steps` were counted while it was gathered; `origins` say where it comes from."""

    kind: Kind
    parameters: Parameters
    origins: tuple[str, ...]
    ratings: Sequence[Rated] = ()
    rows: Sequence[Row] = ()
    golden: Sequence[Golden] = ()
    steps: Sequence[StepReport] = ()
    rated: bool = False


@dataclass(frozen=True, slots=True)
class Tools:
    """What cleaning needs of this machine: a tokenizer's lengths and its name, and what finds personal data."""

    lengths: Lengths
    tokenizer: str
    personal: Step | None
    notes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Built:
    """A data set that is not written yet."""

    card: Card
    splits: Mapping[str, Sequence[Row]]
    report: Mapping[str, Any]


def build(gathered: Gathered, tools: Tools, told: Tell = lambda _share: None) -> Built:
    """Return the data set; the same is made of the same, in whatever order it comes.

    Raises:
        DatasetEmpty: nothing is left of it.
    """
    rows, steps = _assembled(gathered)
    rows.sort(key=lambda row: (row.at, canonical(record_of(row))))
    todo = _steps(gathered, tools)
    for number, step in enumerate(todo, 1):
        rows, report = step(rows)
        steps.append(report)
        told(number / (len(todo) + 1))
    if not rows:
        raise DatasetEmpty(_why_empty(steps))
    rows = [identified(row, gathered.kind) for row in rows]
    parameters = gathered.parameters
    splits = split(rows, parameters.test_share, parameters.validation_share, parameters.seed)
    return _built(gathered, tools, splits, steps)


def _assembled(gathered: Gathered) -> tuple[list[Row], list[StepReport]]:
    steps, rows = list(gathered.steps), list(gathered.rows)
    if not gathered.rated:
        return rows, steps
    ratings = sorted(gathered.ratings, key=lambda each: each.rating_id)
    for look in (read_ratings, agreeing_ratings, capped_ratings):
        ratings, report = look(ratings)
        steps.append(report)
    tally = Tally("answers")
    made = rows_of(gathered.kind, ratings, tally)
    return [*rows, *made], [*steps, tally.report(len(ratings), len(made))]


def _steps(gathered: Gathered, tools: Tools) -> list[Step]:
    parameters = gathered.parameters
    return [
        Encodings(gathered.kind),
        Languages(parameters.languages),
        *([tools.personal] if tools.personal and not parameters.keep_personal_data else []),
        Contradictions(),
        Duplicates(),
        Leakage(gathered.golden),
        tools.lengths,
    ]


def _built(gathered: Gathered, tools: Tools, splits: Mapping[str, Sequence[Row]], steps: Sequence[StepReport]) -> Built:
    kind, rows = gathered.kind, [row for part in splits.values() for row in part]
    parameters = {**gathered.parameters.shown(), "tokenizer": tools.tokenizer}
    records = {name: [record_of(row, columns_of(kind)) for row in part] for name, part in splits.items()}
    verdict = verdict_of(kind, splits, steps)
    card = Card(
        digest=digest_of(kind, parameters, records),
        kind=kind,
        parameters=parameters,
        rows={name: len(part) for name, part in splits.items()},
        origins=gathered.origins,
        fit=verdict.fit,
        reasons=verdict.reasons,
        documents=tuple(sorted({each for row in rows for each in row.documents})),
        people=tuple(sorted({each for row in rows for each in row.people})),
        tokenizer=tools.tokenizer,
    )
    facts = {"digest": card.digest, "parameters": parameters, "origins": list(card.origins), **tools.notes}
    report = with_verdict(report_of(kind, splits, steps, tools.lengths, facts), verdict)
    return Built(card, splits, report)


def _why_empty(steps: Sequence[StepReport]) -> str:
    if not any(each.rows_in for each in steps):
        return "nothing was found to make rows of"
    reasons: dict[str, int] = {}
    for each in steps:
        for reason, count in each.dropped.items():
            reasons[reason] = reasons.get(reason, 0) + count
    told = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items(), key=lambda one: -one[1])[:5])
    return f"no row is left: {told}" if told else "nothing was found to make rows of"
