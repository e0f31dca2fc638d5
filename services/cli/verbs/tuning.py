"""tuning …: how searches rank, version by version."""

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Annotated, Any

import typer
from tandem.feedback.v1 import events_pb2
from tandem.feedback.v1 import feedback_service_pb2 as feedback_pb
from tandem.retrieve.v1 import tuning_service_pb2 as pb

from services.cli.errors import Failure
from services.cli.gateway import int32
from services.cli.output import plain
from services.cli.session import Session
from services.cli.views.tables import table

EXPORT_SECONDS = 120.0
LEARN_SECONDS = 120.0
# As many as one call takes; the newest tell most.
MOST_JUDGEMENTS = 200
COLUMNS = (
    "version",
    "put_at",
    "dense_share",
    "source_weights",
    "recency_half_life_days",
    "max_steps",
    "reranker",
    "rerank_depth",
    "rerank_off",
)


class InvalidWeight(Failure):
    """A weight is written otherwise than SOURCE=NUMBER."""

    reason = "INVALID_WEIGHT"


class NothingToLearnFrom(Failure):
    """There is no answer that was rated good, with a citation."""

    reason = "NOTHING_TO_LEARN_FROM"


def show(
    session: Session, version: Annotated[int, typer.Option(help="An earlier version; 0 is the live one.")] = 0
) -> None:
    """Show how searches rank now."""
    _show(session, _tuning(session, version))


def change(
    session: Session,
    weight: Annotated[
        list[str] | None, typer.Option(help="SOURCE=NUMBER: what its passages count; 1 takes it back.")
    ] = None,
    half_life: Annotated[
        float | None, typer.Option(help="Days until a passage counts half; 0: age is nothing.")
    ] = None,
    dense_share: Annotated[
        float | None, typer.Option(help="The dense leg's share, 0 to 1; less than 0: by each query's evidence.")
    ] = None,
    max_steps: Annotated[int | None, typer.Option(help="Rounds of searches for a question, 1 to 4.")] = None,
    reranker: Annotated[str | None, typer.Option(help="The reranker's digest; empty: the deployment's own.")] = None,
    rerank_depth: Annotated[int | None, typer.Option(help="Candidates that are reranked.")] = None,
    rerank: Annotated[bool | None, typer.Option("--rerank/--no-rerank", help="Whether anything is reranked.")] = None,
) -> None:
    """Change what is given, and leave the rest as it is."""
    tuning = _tuning(session)
    expected = tuning.version
    _weigh(tuning, weight or ())
    if dense_share is not None:
        tuning.ClearField("dense_share")
    given = {
        "recency_half_life_days": half_life,
        "dense_share": dense_share if dense_share is not None and dense_share >= 0 else None,
        "max_steps": None if max_steps is None else int32(max_steps),
        "reranker": reranker,
        "rerank_depth": None if rerank_depth is None else int32(rerank_depth),
        "rerank_off": None if rerank is None else not rerank,
    }
    for name, value in given.items():
        if value is not None:
            setattr(tuning, name, value)
    _put(session, tuning, expected)


def history(
    session: Session, limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many.")] = 20
) -> None:
    """List the versions, newest first."""
    rpc, request = session.gateway.tuning.ListTunings, pb.ListTuningsRequest()
    found = (each for page in session.gateway.pages(rpc, request) for each in page.tunings)
    rows = [plain(each) for each in islice(found, limit)]
    session.output.show({"tunings": rows}, lambda: _table(rows))


def rollback(
    session: Session, version: Annotated[int, typer.Argument(min=1, help="The version to go back to.")]
) -> None:
    """Make an earlier version live again, as a new one."""
    _put(session, _tuning(session, version), _tuning(session).version)


def learn(
    session: Session,
    *,
    put: Annotated[bool, typer.Option("--put", help="Make it live, where one was learnt.")] = False,
) -> None:
    """Learn the dense leg's share from answers that were rated good, and the documents that they cite."""
    judgements = list(islice(_judgements(session), MOST_JUDGEMENTS))
    if not judgements:
        raise NothingToLearnFrom("no answer with a citation was rated good yet")
    request = pb.LearnDenseShareRequest(judgements=judgements)
    learnt = session.gateway.call(session.gateway.tuning.LearnDenseShare, request, LEARN_SECONDS)
    session.output.show({"learnt": plain(learnt)}, lambda: _told(learnt))
    if put and learnt.HasField("dense_share"):
        tuning = _tuning(session)
        tuning.dense_share = learnt.dense_share
        _put(session, tuning, tuning.version)


def _judgements(session: Session) -> Iterable[pb.Judgement]:
    """Yield the questions whose answers were rated good, newest first, with the documents that these cite."""
    stream = session.gateway.stream(
        session.gateway.feedback.ExportRatings, feedback_pb.ExportRatingsRequest(), EXPORT_SECONDS
    )
    for each in reversed(list(stream)):
        documents = {passage.document_id for passage in each.interaction.passages if passage.cited}
        if each.rating.thumb == events_pb2.THUMB_UP and each.interaction.question and documents:
            yield pb.Judgement(query=each.interaction.question, document_ids=sorted(documents))


def _tuning(session: Session, version: int = 0) -> pb.Tuning:
    return session.gateway.call(session.gateway.tuning.GetTuning, pb.GetTuningRequest(version=version)).tuning


def _put(session: Session, tuning: pb.Tuning, expected: int) -> None:
    request = pb.PutTuningRequest(tuning=tuning, expected_version=expected)
    _show(session, session.gateway.call(session.gateway.tuning.PutTuning, request).tuning)


def _weigh(tuning: pb.Tuning, weights: Sequence[str]) -> None:
    """Change the weights of the sources that are named."""
    kept = {one.source: one.weight for one in tuning.source_weights}
    for each in weights:
        source, equals, number = each.rpartition("=")
        try:
            kept[source] = float(number)
        except ValueError as error:
            raise InvalidWeight("a weight is written SOURCE=NUMBER") from error
        if not equals:
            raise InvalidWeight("a weight is written SOURCE=NUMBER")
    del tuning.source_weights[:]
    for source, weight in kept.items():
        if weight != 1:
            tuning.source_weights.add(source=source, weight=weight)


def _show(session: Session, tuning: pb.Tuning) -> None:
    row = plain(tuning)
    session.output.show({"tuning": row}, lambda: _table([row]))


def _table(rows: Sequence[dict[str, Any]]) -> Any:
    return table([row | {"source_weights": _weights(row)} for row in rows], COLUMNS)


def _weights(row: dict[str, Any]) -> list[str]:
    return [f"{one['source']}={one['weight']:g}" for one in row["source_weights"]]


def _told(learnt: pb.LearnDenseShareResponse) -> str:
    qualities = f"{learnt.learnt_quality:.3f} against {learnt.quality:.3f} on {learnt.used} questions"
    if learnt.HasField("dense_share"):
        return f"a dense share of {learnt.dense_share:g} ranks better: {qualities}"
    return f"no share ranks better beyond doubt: {qualities}"
