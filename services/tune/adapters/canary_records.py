"""Records that tell of answers, ratings and replicas, decoded as far as canaries and the registry need them."""

import hashlib
from datetime import UTC, datetime

from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp
from tandem.feedback.v1 import events_pb2 as feedback_pb
from tandem.generate.v1 import events_pb2 as generate_pb

from services.tune.adapters.canaries import CountedAnswer, CountedRating
from services.tune.domain.canaries import SUPPORTED_SHARE, person_of
from services.tune.domain.registry import Readiness, ReplicaReport

# Conversations of `tandem eval`: whoever measures is no user.
EVALUATION = "evaluation-"
MAX_INT32 = 2**31 - 1
_READINESS = {generate_pb.AdapterReadiness.Value(f"ADAPTER_READINESS_{each.name}"): each for each in Readiness}


class MalformedRecord(ValueError):
    """A record is not what its topic holds."""


def answer_of(value: bytes) -> CountedAnswer | None:
    """Return the answer in a record on `interactions`; None where it counts for no canary.

    Raises:
        MalformedRecord: it is none.
    """
    try:
        told = feedback_pb.Interaction.FromString(value)
    except DecodeError as error:
        raise MalformedRecord("no interaction") from error
    if not told.canary_id or told.overridden or told.conversation_id.startswith(EVALUATION):
        return None
    _check(told.tenant_id, told.interaction_id, told.canary_id, told.conversation_id, told.subject)
    return CountedAnswer(
        tenant_id=told.tenant_id,
        interaction_id=told.interaction_id,
        canary_id=told.canary_id,
        is_canary=told.canary,
        conversation_id=told.conversation_id,
        person=person_of(told.tenant_id, told.subject),
        failed=False,
        total_ms=min(max(told.total_ms, 0), MAX_INT32),
        unsupported=told.sentences > 0 and not told.abstained and told.supported_share < SUPPORTED_SHARE,
        at=_moment(told.asked_at),
    )


def failure_of(value: bytes) -> CountedAnswer | None:
    """Return the answer that broke off in a record on `answers.failed`; None where it counts for no canary.

    Raises:
        MalformedRecord: it is none.
    """
    try:
        told = generate_pb.AnswerFailed.FromString(value)
    except DecodeError as error:
        raise MalformedRecord("no failed answer") from error
    if not told.canary_id or told.conversation_id.startswith(EVALUATION):
        return None
    _check(told.tenant_id, told.canary_id, told.conversation_id)
    return CountedAnswer(
        tenant_id=told.tenant_id,
        # It has no id of its own; the same record once more has the same content.
        interaction_id=f"failed/{hashlib.sha256(value).hexdigest()}",
        canary_id=told.canary_id,
        is_canary=told.canary,
        conversation_id=told.conversation_id,
        person="",
        failed=True,
        total_ms=0,
        unsupported=False,
        at=_moment(told.failed_at),
    )


def rating_of(value: bytes) -> CountedRating | None:
    """Return the rating in a record on `ratings`; None where it holds no opinion.

    Raises:
        MalformedRecord: it is none.
    """
    try:
        told = feedback_pb.RatingRecorded.FromString(value)
    except DecodeError as error:
        raise MalformedRecord("no rating") from error
    if told.thumb not in {feedback_pb.THUMB_UP, feedback_pb.THUMB_DOWN}:
        return None
    _check(told.tenant_id, told.rating_id, told.interaction_id, told.subject)
    up, rated_at = told.thumb == feedback_pb.THUMB_UP, _moment(told.rated_at)
    person = person_of(told.tenant_id, told.subject)
    return CountedRating(told.tenant_id, told.rating_id, told.interaction_id, person, up, rated_at)


def replica_of(value: bytes) -> ReplicaReport | None:
    """Return what a replica says in a record on `adapters.reported`; None where it says nothing that we know.

    Raises:
        MalformedRecord: it is no such record.
    """
    try:
        told = generate_pb.AdapterReported.FromString(value)
    except DecodeError as error:
        raise MalformedRecord("no report of a replica") from error
    readiness = _READINESS.get(told.readiness)
    if readiness is None:
        return None
    _check(told.tenant_id, told.digest, told.replica_id)
    return ReplicaReport(
        told.tenant_id,
        told.alias.replace("\0", ""),
        told.digest,
        told.replica_id,
        readiness,
        told.reason.replace("\0", ""),
        max(told.load_ms, 0),
        _moment(told.reported_at),
    )


def _check(*names: str) -> None:
    """Check that names can be kept, and that there are some; the last may be empty where a person has none."""
    if not all(names[:-1]) or any("\0" in name for name in names):
        raise MalformedRecord("an id is missing, or holds a zero byte")


def _moment(told: Timestamp) -> datetime:
    try:
        return told.ToDatetime(UTC)
    except (ValueError, OverflowError) as error:
        raise MalformedRecord("no time") from error
