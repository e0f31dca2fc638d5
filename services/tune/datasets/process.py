"""Builds a data set in a folder that says what to do, as the process does that a build starts."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from services.common.errors import ServiceError
from services.tune.datasets.building import Gathered, Tools, build
from services.tune.datasets.clean.leakage import Golden
from services.tune.datasets.clean.lengths import Characters, Lengths
from services.tune.datasets.counting import Example, StepReport
from services.tune.datasets.files import DATASET, FAILURE, FOUND, GOLDEN, ORDER, PROGRESS, RATINGS, ROWS
from services.tune.datasets.mine.rows import Found, rows_of_pairs
from services.tune.datasets.parameters import Parameters, parameters_of
from services.tune.datasets.rated import rated_of
from services.tune.datasets.rows import Kind, row_of
from services.tune.datasets.writing import write


def build_in(folder: Path) -> int:
    """Build what `folder` says, into it; return the exit status."""
    try:
        _build(folder)
    except ServiceError as error:
        (folder / FAILURE).write_bytes(orjson.dumps({"reason": error.reason, "message": str(error)}))
        return 1
    return 0


def _build(folder: Path) -> None:
    order: Mapping[str, Any] = orjson.loads((folder / ORDER).read_bytes())
    parameters = parameters_of(order["parameters"])
    gathered = _gathered(folder, order, parameters)
    tools = _tools(order, parameters)

    def told(share: float) -> None:
        aside = folder / f"{PROGRESS}.new"
        aside.write_bytes(orjson.dumps(share))
        aside.rename(folder / PROGRESS)

    told(0.0)
    built = build(gathered, tools, told)
    (folder / DATASET).mkdir()
    write(folder / DATASET, built.card, built.splits, built.report)


def _gathered(folder: Path, order: Mapping[str, Any], parameters: Parameters) -> Gathered:
    kind = Kind(order["kind"])
    pairs = [Found.of(each) for each in _lines(folder / FOUND)]
    mined, report = rows_of_pairs(kind, pairs, order["unanswerable_every"], parameters.seed)
    steps = [step_of(each) for each in order["steps"]]
    return Gathered(
        kind=kind,
        parameters=parameters,
        origins=tuple(order["origins"]),
        ratings=[rated_of(each) for each in _lines(folder / RATINGS)],
        rows=[*map(row_of, _lines(folder / ROWS)), *mined],
        golden=[Golden(each["question"], tuple(each["answers"])) for each in _lines(folder / GOLDEN)],
        steps=[*steps, report] if pairs else steps,
        rated="ratings" in order["origins"],
    )


def _tools(order: Mapping[str, Any], parameters: Parameters) -> Tools:
    model, name = order["model"], ""
    lengths = Lengths(Characters(), parameters.max_tokens, "units of 4 characters")
    if model:
        # These bring the libraries of models along.
        from services.common.models.folder import model_folder  # noqa: PLC0415
        from services.common.prompts.tokenizer import ChatTokenizer  # noqa: PLC0415

        source = model_folder(model, Path(order["cache"]))
        lengths, name = Lengths(ChatTokenizer(source), parameters.max_tokens, "tokens"), source.name
    if parameters.keep_personal_data:
        return Tools(lengths, name, None, {"name_languages": []})
    # Slow to import, and not needed where nothing is looked for.
    from services.tune.datasets.clean.personal import Patterns, PersonalData, SpacyNames  # noqa: PLC0415

    finder = SpacyNames(order["name_models"])
    names = (*parameters.names, *order["names"])
    personal = PersonalData(names, parameters.not_personal, finder, Patterns())
    return Tools(lengths, name, personal, {"name_languages": list(finder.languages)})


def step_of(record: Mapping[str, Any]) -> StepReport:
    """Return a step's count from JSON."""
    examples = tuple(Example(each["reason"], each["text"], tuple(each["documents"])) for each in record["examples"])
    return StepReport(record["name"], record["in"], record["out"], record["dropped"], record["changed"], examples)


def _lines(path: Path) -> Iterator[Mapping[str, Any]]:
    if not path.exists():
        return
    with path.open("rb") as file:
        for line in file:
            if line.strip():
                yield orjson.loads(line)
