"""Records as canaries and the registry read them: what counts, what does not, and what is broken."""

from datetime import UTC, datetime

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from tandem.feedback.v1 import events_pb2 as feedback_pb
from tandem.generate.v1 import events_pb2 as generate_pb
from tandem.tune.v1 import events_pb2 as tune_pb

from services.tune.adapters.alias_records import alias_record
from services.tune.adapters.canary_records import MalformedRecord, answer_of, failure_of, rating_of, replica_of
from services.tune.domain.canaries import Canary, CanaryState, Rule, person_of
from services.tune.domain.registry import Alias, Readiness, Target

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)


def interaction(**fields):
    told = {
        "tenant_id": "acme",
        "interaction_id": "i1",
        "conversation_id": "talk",
        "subject": "user:ada",
        "adapter_alias": "support",
        "canary_id": "c1",
        "canary": True,
        "total_ms": 900,
        "sentences": 4,
        "supported_share": 0.75,
    }
    return feedback_pb.Interaction(**told | fields).SerializeToString()


def test_an_answer_under_a_canary_counts_for_its_arm():
    found = answer_of(interaction())
    assert (found.canary_id, found.is_canary, found.failed, found.total_ms) == ("c1", True, False, 900)
    assert found.person == person_of("acme", "user:ada")
    assert not answer_of(interaction(canary=False)).is_canary


@pytest.mark.parametrize("fields", [{"canary_id": ""}, {"overridden": True}, {"conversation_id": "evaluation-2026"}])
def test_what_nobody_met_by_chance_counts_for_nothing(fields):
    assert answer_of(interaction(**fields)) is None


@pytest.mark.parametrize(
    ("fields", "unsupported"),
    [
        ({}, False),
        ({"supported_share": 0.25}, True),
        ({"supported_share": 0.0, "sentences": 0}, False),
        ({"supported_share": 0.0, "abstained": True}, False),
    ],
)
def test_an_answer_is_unsupported_where_half_of_what_it_says_is(fields, unsupported):
    assert answer_of(interaction(**fields)).unsupported is unsupported


def failed(**fields):
    told = {"tenant_id": "acme", "conversation_id": "talk", "canary_id": "c1", "canary": True, "reason": "ENGINE_DEAD"}
    return generate_pb.AnswerFailed(**told | fields).SerializeToString()


def test_a_failed_answer_counts_once_however_often_its_record_comes():
    assert failure_of(failed()) == failure_of(failed())
    assert failure_of(failed()).failed
    assert failure_of(failed(failed_at=Timestamp(seconds=1))).interaction_id != failure_of(failed()).interaction_id
    assert failure_of(failed(canary_id="")) is None


def test_a_rating_without_an_opinion_is_none():
    told = {"tenant_id": "acme", "rating_id": "r1", "interaction_id": "i1", "subject": "user:ada"}
    up = feedback_pb.RatingRecorded(**told, thumb=feedback_pb.THUMB_UP).SerializeToString()
    assert rating_of(up).up
    assert rating_of(feedback_pb.RatingRecorded(**told).SerializeToString()) is None


def test_a_replica_that_says_something_newer_than_we_know_is_left_out():
    told = generate_pb.AdapterReported(tenant_id="acme", digest="sha256:a", replica_id="r", alias="support")
    assert replica_of(told.SerializeToString()) is None
    told.readiness, told.reason = generate_pb.ADAPTER_READINESS_FAILED, "ADAPTER_ALTERED"
    found = replica_of(told.SerializeToString())
    assert (found.readiness, found.reason) == (Readiness.FAILED, "ADAPTER_ALTERED")


@pytest.mark.parametrize("decode", [answer_of, failure_of, rating_of, replica_of])
def test_what_is_no_record_is_told_as_such(decode):
    with pytest.raises(MalformedRecord):
        decode(b"\xff\xfe")


@pytest.mark.parametrize(
    "fields", [{"tenant_id": ""}, {"interaction_id": "a\0b"}, {"asked_at": Timestamp(seconds=2**60)}]
)
def test_what_cannot_be_kept_is_told_as_such(fields):
    with pytest.raises(MalformedRecord):
        answer_of(interaction(**fields))


def test_an_aliass_record_says_what_answers_and_what_is_tried():
    canary = Canary("c1", "support", "sha256:b", "sha256:a", 0.25, False, Rule(), CanaryState.RUNNING, "user:bob", NOW)
    alias = Alias("acme", "support", Target("sha256:a", True, "user:ada"), 7, "user:bob", NOW, canary)
    record = alias_record(alias)
    told = tune_pb.AliasState.FromString(record.value)
    assert (record.topic, record.key) == ("adapters", b"acme/support")
    assert (told.revision, told.live.digest, told.live.cleared, told.live.owner) == (7, "sha256:a", True, "user:ada")
    assert (told.canary.digest, told.canary.owner, told.canary_share, told.canary_id) == (
        "sha256:b",
        "user:bob",
        0.25,
        "c1",
    )


def test_an_alias_of_the_base_model_names_no_adapter():
    told = tune_pb.AliasState.FromString(alias_record(Alias("acme", "support", Target(), 7, "user:bob", NOW)).value)
    assert not told.HasField("live")
    assert not told.HasField("canary")
