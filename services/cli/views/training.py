"""Runs that train adapters: how far they are, and what they made."""

import contextlib
from collections.abc import Callable, Iterator

from rich.console import Group, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text
from tandem.tune.v1 import tuning_service_pb2 as pb

from services.cli.output import Output, plain, visible

SHORT = 12
MINUTE, HOUR = 60, 3600


@contextlib.contextmanager
def following(output: Output) -> Iterator[Callable[[pb.Run], None]]:
    """Give what shows how far a run is: its stage, steps, loss, and the time that is left."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[figures]}"),
    )
    with Progress(*columns, console=output.errors, transient=True, disable=output.as_json) as progress:
        task = progress.add_task("waiting", total=None, figures="")

        def tell(run: pb.Run) -> None:
            at = run.training
            progress.update(
                task,
                description=run.stage or "waiting",
                completed=at.step,
                total=at.steps or None,
                figures=_figures(at),
            )

        yield tell


def drawn(run: pb.Run) -> RenderableType:
    """Return a run as people read it."""
    shown = plain(run)
    if not run.HasField("training"):
        return Group(*_lines(shown, ("run_id", "state", "stage", "origin", "base", "reranker", "failure_message")))
    at = run.training
    lines = _lines(shown, ("run_id", "state", "stage", "base", "seed", "failure", "failure_message"))
    told = shown["training"]
    lines += _lines(told, ("method", "dataset", "parent", "golden_set", "alias", "reward_dataset", "attempts"))
    numbers = told.get("hyperparameters", {})
    if numbers:
        lines.append(Text("with " + ", ".join(f"{name} {value:g}" for name, value in numbers.items()), "dim"))
    if at.steps:
        lines.append(Text(f"step {at.step} of {at.steps}, {_figures(at)}"))
    if at.adapter:
        lines.append(Text(f"adapter {at.adapter}", "bold"))
        lines.append(Text("passed the gate" if at.passed else "did not pass the gate", "bold"))
    return Group(*lines)


def _lines(values: dict[str, object], names: tuple[str, ...]) -> list[Text]:
    found = [(name, values.get(name, "")) for name in names]
    return [Text(f"{name.replace('_', ' ')} {visible(str(value))}") for name, value in found if value not in {"", 0}]


def _figures(at: pb.AdapterTraining) -> str:
    loss = f"loss {at.loss:.4f}" if at.step else ""
    return f"{loss}, {_left(at.eta.seconds)} left" if at.HasField("eta") else loss


def _left(seconds: int) -> str:
    if seconds >= HOUR:
        return f"{seconds // HOUR} h {seconds % HOUR // MINUTE} min"
    return f"{seconds // MINUTE} min" if seconds >= MINUTE else f"{seconds} s"
