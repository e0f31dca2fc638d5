"""Between protobuf and the domain: records read and written, and what the RPCs answer."""

from datetime import UTC, datetime
from typing import Any

from google.protobuf.json_format import MessageToDict, ParseDict, SerializeToJsonError
from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp
from tandem.feedback.v1 import events_pb2, feedback_service_pb2

from services.common.bus import RATINGS, Record, key_of, traced
from services.feedback.domain import Conversation, Interaction, Rating, Thumb

# PostgreSQL's index entries end at about 2,700 bytes; no honest id comes near.
MAX_ID_CHARS = 256

_THUMBS: dict[int, Thumb] = {events_pb2.THUMB_UP: Thumb.UP, events_pb2.THUMB_DOWN: Thumb.DOWN}
_THUMB_NUMBERS = {Thumb.UP: events_pb2.THUMB_UP, Thumb.DOWN: events_pb2.THUMB_DOWN}


class MalformedInteraction(ValueError):
    """A record on `interactions` that can never be stored."""


def thumb_of(number: int) -> Thumb | None:
    """Return the thumb of a protobuf number; None when it is no thumb."""
    return _THUMBS.get(number)


def interaction_of(value: bytes) -> Interaction:
    """Return the interaction in a record's value.

    Raises:
        MalformedInteraction: it cannot be decoded, or lacks an id or its time.
    """
    try:
        message = events_pb2.Interaction.FromString(value)
        content = _without_nul(MessageToDict(message, preserving_proto_field_name=True))
        asked_at = message.asked_at.ToDatetime(UTC)
    except (DecodeError, SerializeToJsonError, ValueError, OverflowError) as error:
        raise MalformedInteraction(f"it cannot be decoded: {type(error).__name__}") from error
    names = ("tenant_id", "interaction_id", "conversation_id", "subject")
    ids = {name: content.get(name, "") for name in names}
    if not (ids["tenant_id"] and ids["interaction_id"] and message.HasField("asked_at")):
        raise MalformedInteraction("it has no tenant, no id or no time")
    if max(map(len, ids.values())) > MAX_ID_CHARS:
        raise MalformedInteraction("an id is too long")
    return Interaction(**ids, asked_at=asked_at, content=content)


def _without_nul(value: Any) -> Any:
    """Return a JSON value without NUL characters, which PostgreSQL cannot keep."""
    match value:
        case str():
            return value.replace("\0", "")
        case list():
            return [_without_nul(item) for item in value]
        case dict():
            return {key: _without_nul(item) for key, item in value.items()}
    return value


def interaction_message(interaction: Interaction) -> events_pb2.Interaction:
    """Return the interaction as the RPCs show it."""
    return ParseDict(dict(interaction.content), events_pb2.Interaction(), ignore_unknown_fields=True)


def conversation_message(conversation: Conversation, title: str | None) -> feedback_service_pb2.Conversation:
    """Return the conversation as the RPCs show it; no title is withheld."""
    return feedback_service_pb2.Conversation(
        conversation_id=conversation.first.conversation_id,
        title=title or "",
        turns=conversation.turns,
        started_at=_timestamp(conversation.first.asked_at),
        last_asked_at=_timestamp(conversation.last_asked_at),
        withheld=title is None,
        assistant=conversation.assistant,
    )


def rating_message(rating: Rating, *, withheld: bool = False) -> feedback_service_pb2.Rating:
    """Return the rating as the RPCs show it; what is withheld has neither comment nor correction."""
    return feedback_service_pb2.Rating(
        rating_id=rating.rating_id,
        interaction_id=rating.interaction_id,
        thumb=_THUMB_NUMBERS[rating.opinion.thumb],
        comment="" if withheld else rating.opinion.comment,
        correction="" if withheld else rating.opinion.correction,
        subject=rating.subject,
        rated_at=_timestamp(rating.rated_at),
        withheld=withheld,
    )


def rating_record(rating: Rating) -> Record:
    """Return the record that tells others of the rating."""
    message = events_pb2.RatingRecorded(
        tenant_id=rating.tenant_id,
        rating_id=rating.rating_id,
        interaction_id=rating.interaction_id,
        thumb=_THUMB_NUMBERS[rating.opinion.thumb],
        comment=rating.opinion.comment,
        correction=rating.opinion.correction,
        subject=rating.subject,
        rated_at=_timestamp(rating.rated_at),
    )
    return traced(RATINGS, key_of(rating.tenant_id, rating.interaction_id), message.SerializeToString())


def _timestamp(at: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(at)
    return stamp
