"""Records become interactions, or are refused; never anything else."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st
from tandem.feedback.v1 import events_pb2

from services.feedback.adapters.messages import (
    MAX_ID_CHARS,
    MalformedInteraction,
    interaction_message,
    interaction_of,
    rating_message,
    rating_record,
    thumb_of,
)
from services.feedback.domain import Opinion, Rating, Thumb


def interaction(**changes):
    asked_at = Timestamp()
    asked_at.FromDatetime(datetime(2026, 11, 22, 10, 30, tzinfo=UTC))
    passage = events_pb2.InteractionPassage(chunk_id="c1", document_version=2**62, score=0.5, cited=True)
    fields = {
        "interaction_id": "i1",
        "tenant_id": "acme",
        "conversation_id": "talk",
        "subject": "user:ada",
        "question": "Quelle est la garantie ?",
        "answer": "Deux ans.",
        "passages": [passage],
        "first_token_ms": 120,
        "asked_at": asked_at,
    }
    return events_pb2.Interaction(**fields | changes)


def test_an_interaction_comes_back_as_it_was_recorded():
    message = interaction()
    decoded = interaction_of(message.SerializeToString())
    assert interaction_message(decoded) == message
    assert (decoded.tenant_id, decoded.interaction_id, decoded.subject) == ("acme", "i1", "user:ada")
    assert decoded.asked_at == datetime(2026, 11, 22, 10, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\xff\xff\xff",
        b"not protobuf at all",
        interaction(tenant_id="").SerializeToString(),
        interaction(interaction_id="\0").SerializeToString(),
        interaction(asked_at=None).SerializeToString(),
        interaction(asked_at=Timestamp(seconds=2**62)).SerializeToString(),
        interaction(conversation_id="c" * (MAX_ID_CHARS + 1)).SerializeToString(),
    ],
)
def test_a_record_that_can_never_be_stored_is_refused(value):
    with pytest.raises(MalformedInteraction):
        interaction_of(value)


@given(st.binary(max_size=200))
def test_any_bytes_are_an_interaction_or_refused(value):
    try:
        decoded = interaction_of(value)
    except MalformedInteraction:
        return
    assert decoded.tenant_id


def test_what_postgres_cannot_keep_is_taken_out():
    scored = events_pb2.InteractionPassage(score=float("nan"), title="a\0b")
    decoded = interaction_of(interaction(answer="Deux\0 ans.", passages=[scored]).SerializeToString())
    assert decoded.content["answer"] == "Deux ans."
    assert decoded.content["passages"] == [{"score": "NaN", "title": "ab"}]


def test_a_kept_field_of_a_newer_release_does_not_hinder_an_older_one():
    decoded = interaction_of(interaction().SerializeToString())
    newer = replace(decoded, content=dict(decoded.content) | {"mood": "kind"})
    assert interaction_message(newer).answer == "Deux ans."


@pytest.mark.parametrize("number", [0, 3, -1])
def test_a_number_that_is_no_thumb_is_none(number):
    assert thumb_of(number) is None


@pytest.mark.parametrize("thumb", list(Thumb))
def test_a_rating_is_published_under_its_interaction_as_it_is_shown(thumb):
    rating = Rating("r1", "acme", "i1", "user:ada", Opinion(thumb, "bien", "Trois ans."), datetime.now(UTC))
    record, shown = rating_record(rating), rating_message(rating)
    told = events_pb2.RatingRecorded.FromString(record.value)
    assert (record.topic, record.key, told.tenant_id) == ("ratings", b"acme/i1", "acme")
    for field in ("rating_id", "interaction_id", "thumb", "comment", "correction", "subject", "rated_at"):
        assert getattr(told, field) == getattr(shown, field)
    assert thumb_of(told.thumb) is thumb
