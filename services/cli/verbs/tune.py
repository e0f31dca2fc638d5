"""tune …: trains rerankers from what is known, puts them into use or takes them back, and lists and ends runs."""

import time
import uuid
from collections.abc import Iterator
from itertools import islice
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.text import Text
from tandem.tune.v1 import tuning_service_pb2 as pb

from services.cli.errors import Failure
from services.cli.output import plain, visible
from services.cli.session import Session
from services.cli.verbs.evaluation import AllowUnknown, DuplicatesOption, FromRatings, SetPath
from services.cli.views.tables import table
from services.common.evaluation.questions import Duplicates

POLL_SECONDS = 1.0
# A training set goes up with it.
START_SECONDS = 120.0
WORKING = {pb.RUN_STATE_QUEUED, pb.RUN_STATE_RUNNING}
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, help="How many at most.")]
Digest = Annotated[str, typer.Argument(help="The reranker's digest, or its beginning.")]
Override = Annotated[bool, typer.Option("--override", help="Though it has not passed the gate; for admins.")]


class RunFailed(Failure):
    """The run made nothing."""

    reason = "RUN_FAILED"


class UnknownReranker(Failure):
    """No reranker's digest begins so, or several do."""

    reason = "RERANKER_NOT_FOUND"


def reranker(
    session: Session,
    path: SetPath = None,
    split: Annotated[str, typer.Option(help="Of a BEIR folder: qrels/SPLIT.tsv.")] = "train",
    from_ratings: FromRatings = False,
    base: Annotated[str, typer.Option(help="What to start from; the embedding model by default.")] = "",
    seed: Annotated[int, typer.Option(min=0, help="Of splits, samples and training.")] = 0,
    duplicates: DuplicatesOption = Duplicates.REFUSE,
    allow_unknown: AllowUnknown = False,
    promote: Annotated[bool, typer.Option(help="Put it into use if it passes the gate.")] = True,
    override: Override = False,
    wait: Annotated[bool, typer.Option(help="Wait until it is measured.")] = True,
) -> None:
    """Train a reranker, and measure it against what is live on questions held out."""
    request = pb.StartRerankerRunRequest(request_id=uuid.uuid4().hex, base=base, seed=seed)
    if from_ratings and path is None:
        request.ratings.SetInParent()
    else:
        from services.cli.evaluation import training  # noqa: PLC0415 - reading sets is slow to import

        questions = training.questions(session, path, split, duplicates, from_ratings=from_ratings)
        training.fill(request.training_set, session.gateway, questions, allow_unknown=allow_unknown)
    run = session.gateway.call(session.gateway.rerankers.StartRerankerRun, request, START_SECONDS).run
    run = _followed(session, run) if wait else run
    promoted = promote and run.state == pb.RUN_STATE_SUCCEEDED and (run.report.passed or override)
    if promoted:
        wanted = pb.PromoteRerankerRequest(digest=run.reranker, override=override)
        session.gateway.call(session.gateway.rerankers.PromoteReranker, wanted)
    shown = plain(run) | {"promoted": promoted}
    session.output.show({"run": shown}, lambda: _verdict(run, promoted=promoted))
    if run.state in {pb.RUN_STATE_FAILED, pb.RUN_STATE_CANCELLED}:
        raise RunFailed(f"the run made no reranker: {run.failure or 'it was cancelled'}", run_id=run.run_id)


def runs(session: Session, limit: Limit = 20) -> None:
    """List runs, newest first."""
    rows = [plain(each) for each in islice(_listed(session, "ListRuns", pb.ListRunsRequest(), "runs"), limit)]
    drawn = [row | {"trains": row.get("training", {}).get("method", "reranker")} for row in rows]
    columns = ("run_id", "trains", "state", "stage", "origin", "base", "created_at", "failure")
    session.output.show({"runs": rows}, lambda: table(drawn, columns))


def cancel(session: Session, run_id: Annotated[str, typer.Argument(help="The run's id.")]) -> None:
    """End a run that waits or works."""
    run = session.gateway.call(session.gateway.rerankers.CancelRun, pb.CancelRunRequest(run_id=run_id)).run
    shown = plain(run)
    session.output.show({"run": shown}, lambda: Text(f"run {run.run_id} is {shown['state']}"))


def rerankers(session: Session, limit: Limit = 20) -> None:
    """List rerankers, newest first."""
    found = list(islice(_rerankers(session), limit))
    rows = [plain(each) for each in found]
    drawn = [_row(each) for each in found]
    columns = ("digest", "passed", "live", "ndcg", "before", "stale", "created_at")
    session.output.show({"rerankers": rows}, lambda: table(drawn, columns))


def promote(session: Session, digest: Digest, override: Override = False) -> None:
    """Put a reranker into use."""
    request = pb.PromoteRerankerRequest(digest=_whole(session, digest), override=override)
    answer = session.gateway.call(session.gateway.rerankers.PromoteReranker, request)
    said = f"reranker {request.digest[:12]} is in use"
    session.output.show({"promotion": plain(answer.promotion)}, lambda: Text(said))


def rollback(session: Session) -> None:
    """Take the last promotion back."""
    request = pb.RollbackRerankerRequest()
    promotion = session.gateway.call(session.gateway.rerankers.RollbackReranker, request).promotion
    said = f"reranker {promotion.reranker[:12]} is in use again" if promotion.reranker else "no reranker is in use now"
    session.output.show({"promotion": plain(promotion)}, lambda: Text(said))


def history(session: Session, limit: Limit = 20) -> None:
    """List what was put into use and taken back, newest first."""
    found = _listed(session, "ListPromotions", pb.ListPromotionsRequest(), "promotions")
    rows = [plain(each) for each in islice(found, limit)]
    columns = ("promoted_at", "reranker", "previous", "rerank_weight", "subject", "overridden", "rollback")
    session.output.show({"promotions": rows}, lambda: table(rows, columns))


def _followed(session: Session, run: pb.Run) -> pb.Run:
    """Return a run once it has ended; it goes on without this command, too."""
    session.output.say(f"run {run.run_id} goes on until it is done, with or without this command", "dim")
    said = ""
    while run.state in WORKING:
        stage = run.stage or "waiting"
        if stage != said:
            session.output.say(stage)
            said = stage
        time.sleep(POLL_SECONDS)
        run = session.gateway.call(session.gateway.rerankers.GetRun, pb.GetRunRequest(run_id=run.run_id)).run
    return run


def _verdict(run: pb.Run, *, promoted: bool) -> RenderableType:
    if run.state != pb.RUN_STATE_SUCCEEDED:
        return Text(f"run {run.run_id}: {visible(run.failure_message) or plain(run)['state']}")
    report = run.report
    return Group(
        Text(f"reranker {run.reranker}"),
        Text(f"nDCG@10 {report.live_ndcg:.4f} live, {report.candidate_ndcg:.4f} with it, on questions held out"),
        Text(
            f"difference {report.candidate_ndcg - report.live_ndcg:+.4f},"
            f" 95% interval {report.difference_low:+.4f} to {report.difference_high:+.4f},"
            f" {report.held_out_queries} questions, weight {report.rerank_weight:g}"
        ),
        Text("passed the gate" if report.passed else "did not pass the gate", "bold"),
        Text("it is in use now" if promoted else "it is not in use"),
    )


def _row(each: pb.Reranker) -> dict[str, Any]:
    ndcg, before = f"{each.report.candidate_ndcg:.4f}", f"{each.report.live_ndcg:.4f}"
    return plain(each) | {"passed": each.report.passed, "ndcg": ndcg, "before": before}


def _whole(session: Session, beginning: str) -> str:
    found = [each.digest for each in _rerankers(session) if each.digest.startswith(beginning)]
    if len(found) != 1:
        raise UnknownReranker(f"{len(found)} rerankers' digests begin so", beginning=beginning)
    return found[0]


def _rerankers(session: Session) -> Iterator[pb.Reranker]:
    return _listed(session, "ListRerankers", pb.ListRerankersRequest(), "rerankers")


def _listed(session: Session, rpc: str, request: Any, field: str) -> Iterator[Any]:
    pages = session.gateway.pages(getattr(session.gateway.rerankers, rpc), request)
    return (each for page in pages for each in getattr(page, field))
