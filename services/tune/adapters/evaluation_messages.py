"""Sets and evaluations to protobuf."""

from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp
from tandem.tune.v1 import evaluation_service_pb2 as pb

from services.tune.domain.evaluations import Evaluation, EvaluationState, KeptSet

_STATES = {state: pb.EvaluationState.Value(f"EVALUATION_STATE_{state.name}") for state in EvaluationState}


def set_message(kept: KeptSet) -> pb.QuestionSet:
    """Return a set as callers see it."""
    return pb.QuestionSet(
        name=kept.name,
        questions=kept.questions,
        digest=kept.digest,
        subject=kept.subject,
        put_at=_timestamp(kept.put_at),
        every_hours=kept.every_hours,
        next_at=_timestamp(kept.next_at),
        ends_at=_timestamp(kept.ends_at),
        scheduled_by=kept.scheduled_by,
    )


def evaluation_message(evaluation: Evaluation) -> pb.Evaluation:
    """Return an evaluation as callers see it."""
    return pb.Evaluation(
        evaluation_id=evaluation.evaluation_id,
        set=evaluation.set_name,
        set_digest=evaluation.set_digest,
        state=_STATES[evaluation.state],
        subject=evaluation.subject,
        scheduled=evaluation.scheduled,
        searched=evaluation.searched,
        questions=evaluation.questions,
        figures=[
            pb.Figure(measure=measure, value=figure.value, low=figure.low, high=figure.high)
            for measure, figure in evaluation.figures.items()
        ],
        fell=evaluation.fall < 0,
        fall=evaluation.fall,
        failure=evaluation.failure,
        created_at=_timestamp(evaluation.created_at),
        started_at=_timestamp(evaluation.started_at),
        ended_at=_timestamp(evaluation.ended_at),
    )


def _timestamp(moment: datetime | None) -> Timestamp | None:
    if moment is None:
        return None
    message = Timestamp()
    message.FromDatetime(moment)
    return message
