"""How kept sets and their evaluations look."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import orjson
from rich.console import Group, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text
from tandem.tune.v1 import evaluation_service_pb2 as pb

from services.cli.output import Output, plain, short_name, visible
from services.cli.views.tables import counted, new_table, table

_STATE = pb.Evaluation.DESCRIPTOR.fields_by_name["state"]


def sets_table(rows: Iterable[Mapping[str, Any]]) -> RenderableType:
    """Return sets, and when they are evaluated."""
    return table(rows, ("name", "questions", "subject", "put_at", "every_hours", "next_at", "ends_at", "scheduled_by"))


def questions_of(content: bytes) -> list[dict[str, Any]]:
    """Return a set's questions as JSON's types."""
    return [orjson.loads(line) for line in content.splitlines() if line]


def kept_set(found: pb.GetSetResponse) -> RenderableType:
    """Return a set with its questions."""
    lines = [Text(visible(str(each["question"]))) for each in questions_of(found.content)]
    if found.withheld:
        lines.append(Text(f"{counted(found.withheld, 'question')} whose documents you may not read", "yellow"))
    return Group(sets_table([plain(found.set)]), *lines)


def evaluations_table(found: Sequence[pb.Evaluation]) -> RenderableType:
    """Return evaluations with their figures."""
    if not found:
        return Text("none", "dim")
    measures = list(dict.fromkeys(figure.measure for each in found for figure in each.figures))
    drawn = new_table("created at", "state", *measures, "fell", "subject")
    for each in found:
        figures = {figure.measure: figure for figure in each.figures}
        state = short_name(_STATE, each.state) + (f" ({each.failure})" if each.failure else "")
        fell = Text(f"{each.fall:+.3f}", "bold red") if each.fell else Text("")
        created = each.created_at.ToDatetime().isoformat(" ", "seconds")
        drawn.add_row(created, state, *(_figure(figures.get(name)) for name in measures), fell, visible(each.subject))
    return drawn


def _figure(figure: pb.Figure | None) -> str:
    return f"{figure.value:.3f} [{figure.low:.3f}, {figure.high:.3f}]" if figure else "-"


@contextlib.contextmanager
def searching(output: Output) -> Iterator[Callable[[pb.Evaluation], None]]:
    """Give what shows how far an evaluation is."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=output.errors, transient=True, disable=output.as_json) as progress:
        task = progress.add_task("searched", total=None)
        yield lambda each: progress.update(task, completed=each.searched, total=each.questions)
