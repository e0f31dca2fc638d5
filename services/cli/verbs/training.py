"""tune run, tune show: trains an adapter from a data set, and shows how far a run is."""

import time
import uuid
from typing import Annotated

import typer
from tandem.tune.v1 import tuning_service_pb2 as pb

from services.cli.errors import Failure
from services.cli.output import plain
from services.cli.session import Session
from services.cli.verbs.tune import RunFailed
from services.cli.views.training import drawn, following

POLL_SECONDS = 1.0
WORKING = {pb.RUN_STATE_QUEUED, pb.RUN_STATE_RUNNING}
METHODS = {
    name.removeprefix("TRAINING_METHOD_").lower(): number for name, number in pb.TrainingMethod.items() if number
}
_FIELDS = {field.name: field for field in pb.Hyperparameters.DESCRIPTOR.fields}


class UnknownMethod(Failure):
    """There is no such method of training."""

    reason = "UNKNOWN_METHOD"


class InvalidSetting(Failure):
    """It is no NAME=NUMBER of a hyper-parameter."""

    reason = "INVALID_HYPERPARAMETERS"


def run(
    session: Session,
    *,
    method: Annotated[str, typer.Option(help="sft, dpo, kto or grpo.")],
    dataset: Annotated[str, typer.Option(help="The data set's digest.")],
    base: Annotated[str, typer.Option(help="A model by its name in the deployment; the engine's by default.")] = "",
    parent: Annotated[str, typer.Option(help="An adapter's digest to begin from.")] = "",
    golden: Annotated[str, typer.Option(help="A kept set of questions that the gate measures on.")] = "",
    alias: Annotated[str, typer.Option(help="Measure against what this alias points at; else the base model.")] = "",
    reward_dataset: Annotated[str, typer.Option(help="GRPO: what people preferred, as a data set's digest.")] = "",
    seed: Annotated[int, typer.Option(min=0, help="Of order, sampling and first weights.")] = 0,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="NAME=NUMBER: a hyper-parameter, such as epochs=2; repeat it.")
    ] = None,
    wait: Annotated[bool, typer.Option(help="Wait until it has ended.")] = True,
) -> None:
    """Train an adapter from a data set; the gate measures it against what is live."""
    if method.lower() not in METHODS:
        raise UnknownMethod(f"no method is called {method}: there are {', '.join(METHODS)}")
    request = pb.StartAdapterRunRequest(
        request_id=uuid.uuid4().hex,
        dataset=dataset,
        method=METHODS[method.lower()],
        base=base,
        parent=parent,
        golden_set=golden,
        alias=alias,
        reward_dataset=reward_dataset,
        seed=seed,
        hyperparameters=_hyperparameters(settings or []),
    )
    started = session.gateway.call(session.gateway.rerankers.StartAdapterRun, request).run
    found = _followed(session, started) if wait else started
    _show(session, found)
    if found.state in {pb.RUN_STATE_FAILED, pb.RUN_STATE_CANCELLED}:
        raise RunFailed(f"the run made no adapter: {found.failure or 'it was cancelled'}", run_id=found.run_id)


def show(session: Session, run_id: Annotated[str, typer.Argument(help="The run's id.")]) -> None:
    """Show a run: what it is told to do, how far it is, and what it made."""
    _show(session, _run(session, run_id))


def _followed(session: Session, found: pb.Run) -> pb.Run:
    """Return a run once it has ended; it goes on without this command, too."""
    session.output.say(f"run {found.run_id} goes on until it is done, with or without this command", "dim")
    with following(session.output) as tell:
        while found.state in WORKING:
            tell(found)
            time.sleep(POLL_SECONDS)
            found = _run(session, found.run_id)
    return found


def _run(session: Session, run_id: str) -> pb.Run:
    return session.gateway.call(session.gateway.rerankers.GetRun, pb.GetRunRequest(run_id=run_id)).run


def _show(session: Session, found: pb.Run) -> None:
    session.output.show({"run": plain(found)}, lambda: drawn(found))


def _hyperparameters(settings: list[str]) -> pb.Hyperparameters:
    message = pb.Hyperparameters()
    for text in settings:
        name, _, value = text.partition("=")
        field = _FIELDS.get(name)
        if field is None:
            raise InvalidSetting(f"no hyper-parameter is called {name}: there are {', '.join(_FIELDS)}")
        try:
            setattr(message, name, int(value) if field.cpp_type == field.CPPTYPE_INT32 else float(value))
        except ValueError as error:
            raise InvalidSetting(f"{name} is no number that it can have: {value}") from error
    return message
