"""Runs, rerankers and promotions to and from protobuf."""

from collections.abc import Mapping
from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp
from tandem.tune.v1 import tuning_service_pb2 as pb

from services.common.identity import Identity
from services.tune.adapters.training_messages import training_message
from services.tune.domain.data import Positive, Question, check_questions
from services.tune.domain.errors import InvalidRun, UnknownBase
from services.tune.domain.runs import GateReport, Order, Origin, Promotion, Reranker, Run, RunState

_STATES = {state: pb.RunState.Value(f"RUN_STATE_{state.name}") for state in RunState}


def order_of(request: pb.StartRerankerRunRequest, identity: Identity, bases: Mapping[str, str]) -> Order:
    """Return what a request orders; an empty base is the first of `bases`.

    Raises:
        InvalidRun, InvalidTrainingSet: it cannot be done.
        UnknownBase: it is to start from something else.
    """
    base = request.base or next(iter(bases))
    if base not in bases:
        raise UnknownBase("no reranker is trained from this model here", known=", ".join(bases))
    match request.WhichOneof("data"):
        case "training_set":
            questions = tuple(map(_question, request.training_set.queries))
            check_questions(questions)
            return Order(identity, request.request_id, base, Origin.TRAINING_SET, request.seed, questions)
        case "ratings":
            after = _moment(request.ratings.rated_after) if request.ratings.HasField("rated_after") else None
            return Order(identity, request.request_id, base, Origin.RATINGS, request.seed, rated_after=after)
    raise InvalidRun("neither a training set nor ratings are to be learnt from")


def _question(message: pb.TrainingQuery) -> Question:
    return Question(message.query, tuple(Positive(each.document_id, each.text) for each in message.positives))


def _moment(message: Timestamp) -> datetime:
    try:
        return message.ToDatetime(UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidRun("rated_after is no time") from error


def run_message(run: Run) -> pb.Run:
    """Return a run as callers see it."""
    return pb.Run(
        run_id=run.run_id,
        state=_STATES[run.state],
        stage=run.stage,
        progress=run.progress,
        subject=run.subject,
        base=run.base,
        origin=run.origin.value,
        seed=run.seed,
        reranker=run.reranker,
        failure=run.failure,
        failure_message=run.failure_message,
        created_at=_timestamp(run.created_at),
        started_at=_timestamp(run.started_at),
        ended_at=_timestamp(run.ended_at),
        report=report_message(run.report) if run.report else None,
        training=training_message(run.training) if run.training else None,
    )


def report_message(report: GateReport) -> pb.GateReport:
    """Return a report as callers see it."""
    return pb.GateReport(**{name: getattr(report, name) for name in report.__dataclass_fields__})


def reranker_message(reranker: Reranker, *, live: bool, deleted_documents: int) -> pb.Reranker:
    """Return a reranker as callers see it."""
    return pb.Reranker(
        digest=reranker.digest,
        run_id=reranker.run_id,
        base=reranker.base,
        report=report_message(reranker.report),
        created_at=_timestamp(reranker.created_at),
        live=live,
        stale=bool(deleted_documents or reranker.erased_people),
        document_count=len(reranker.lineage.documents),
        deleted_documents=deleted_documents,
        person_count=len(reranker.lineage.people) + reranker.erased_people,
        erased_people=reranker.erased_people,
    )


def promotion_message(promotion: Promotion) -> pb.Promotion:
    """Return a promotion as callers see it."""
    return pb.Promotion(
        promotion_id=promotion.promotion_id,
        reranker=promotion.reranker,
        previous=promotion.previous,
        rerank_weight=promotion.rerank_weight,
        tuning_version=promotion.tuning_version,
        subject=promotion.subject,
        overridden=promotion.overridden,
        rollback=bool(promotion.undoes),
        promoted_at=_timestamp(promotion.promoted_at),
    )


def _timestamp(moment: datetime | None) -> Timestamp | None:
    if moment is None:
        return None
    message = Timestamp()
    message.FromDatetime(moment)
    return message
