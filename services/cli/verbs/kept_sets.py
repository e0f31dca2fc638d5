"""eval keep, sets, show, remove, run, schedule, history: sets that are kept with the tenant."""

from pathlib import Path
from typing import Annotated

import typer
from tandem.tune.v1 import evaluation_service_pb2 as pb

from services.cli.evaluation import keeping
from services.cli.gateway import int32
from services.cli.output import plain
from services.cli.session import Session
from services.cli.verbs.evaluation import DuplicatesOption, Limit, Sources, Split
from services.cli.verbs.records import Limit as Rows
from services.cli.views import kept_sets as views
from services.cli.views.tables import counted
from services.common.evaluation.questions import Duplicates

Name = Annotated[str, typer.Argument(metavar="NAME", help="The set's name.")]


def keep(
    session: Session,
    name: Name,
    path: Annotated[Path, typer.Option("--set", help="A BEIR folder, or a file of CSV or JSONL; .gz too.")],
    split: Split = "test",
    limit: Limit = 0,
    duplicates: DuplicatesOption = Duplicates.REFUSE,
    filter_source: Sources = None,
) -> None:
    """Keep a set with the tenant, or replace its questions."""
    from services.cli.evaluation import work  # noqa: PLC0415 - numpy and ir-measures are slow to import

    asked = work.read(path, split, duplicates).limited(limit)
    kept = keeping.keep(session.gateway, name, asked, work.catalogue_of(session.gateway, filter_source or ()))
    session.output.show({"set": plain(kept)}, lambda: f"set {kept.name} is kept: {counted(kept.questions, 'question')}")


def list_sets(session: Session) -> None:
    """List the sets that are kept, and their schedules."""
    pages = session.gateway.pages(session.gateway.evaluations.ListSets, pb.ListSetsRequest())
    rows = [plain(each) for page in pages for each in page.sets]
    session.output.show({"sets": rows}, lambda: views.sets_table(rows))


def show(
    session: Session,
    name: Name,
    out: Annotated[Path | None, typer.Option("--out", help="Write the questions to this file, of JSONL.")] = None,
) -> None:
    """Show a kept set: those of its questions whose documents you may read."""
    found = session.gateway.call(session.gateway.evaluations.GetSet, pb.GetSetRequest(name=name))
    if out:
        out.write_bytes(found.content)
    data = {"set": plain(found.set), "withheld": found.withheld, "questions": views.questions_of(found.content)}
    session.output.show(data, lambda: views.kept_set(found))


def remove(session: Session, name: Name) -> None:
    """Remove a kept set with its schedule and its evaluations."""
    session.gateway.call(session.gateway.evaluations.DeleteSet, pb.DeleteSetRequest(name=name))
    session.output.show({"removed": name}, lambda: f"set {name} is removed")


def run(
    session: Session,
    name: Name,
    timeout: Annotated[float, typer.Option(help="Seconds to wait at most.")] = 3600.0,
) -> None:
    """Evaluate a kept set now."""
    with views.searching(session.output) as told:
        done = keeping.evaluate(session.gateway, name, timeout, told)
    session.output.show({"evaluation": plain(done)}, lambda: views.evaluations_table([done]))


def schedule(
    session: Session,
    name: Name,
    every_hours: Annotated[int, typer.Option("--every-hours", help="1 to 8,760; 0 ends the schedule.")],
) -> None:
    """Have a kept set evaluated as you, every so many hours, for 90 days."""
    request = pb.SetScheduleRequest(name=name, every_hours=int32(every_hours))
    kept = session.gateway.call(session.gateway.evaluations.SetSchedule, request).set
    session.output.show({"set": plain(kept)}, lambda: views.sets_table([plain(kept)]))


def history(session: Session, name: Name, limit: Rows = 20) -> None:
    """List a kept set's evaluations, newest first."""
    found = keeping.history(session.gateway, name, limit)
    session.output.show({"evaluations": list(map(plain, found))}, lambda: views.evaluations_table(found))
