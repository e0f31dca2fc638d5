"""The gRPC face of feedback: checks requests, and translates both ways."""

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from google.protobuf.message import Message
from prometheus_client import Counter
from tandem.feedback.v1 import feedback_service_pb2 as pb
from tandem.feedback.v1 import feedback_service_pb2_grpc as rpc

from services.common.answer_ids import AnswerIds
from services.common.identity import caller
from services.common.pages import page_size_of
from services.feedback.adapters.messages import interaction_message, rating_message, thumb_of
from services.feedback.adapters.postgres import PostgresFeedback
from services.feedback.domain import (
    InvalidRatedAfter,
    Position,
    Rating,
    opinion_of,
    position_of,
    turns_of,
)

# Prompts may be long: a page ends early rather than outgrow a gRPC message.
PAGE_BYTES = 16 * 1024 * 1024

RATINGS_TOTAL = Counter("tandem_ratings_total", "Ratings kept, new or replaced.", ["thumb"])

M = TypeVar("M", bound=Message)


class FeedbackServicer(rpc.FeedbackServiceServicer):
    def __init__(
        self,
        store: PostgresFeedback,
        answer_ids: AnswerIds,
        now: Callable[[], datetime],
        new_id: Callable[[], str],
    ) -> None:
        self._store = store
        self._answer_ids = answer_ids
        self._now = now
        self._new_id = new_id

    async def Rate(self, request: pb.RateRequest, context: Any) -> pb.RateResponse:
        who = caller()
        rating = Rating(
            rating_id=self._new_id(),
            tenant_id=who.tenant_id,
            interaction_id=self._answer_ids.read(who.tenant_id, request.answer_id),
            subject=who.subject,
            opinion=opinion_of(thumb_of(request.thumb), request.comment, request.correction),
            rated_at=self._now(),
        )
        kept, changed = await self._store.rate(rating)
        if changed:
            RATINGS_TOTAL.labels(kept.opinion.thumb).inc()
        return pb.RateResponse(rating=rating_message(kept))

    async def GetConversation(self, request: pb.GetConversationRequest, context: Any) -> pb.GetConversationResponse:
        who, turns = caller(), turns_of(request.max_turns)
        found = await self._store.conversation(who.tenant_id, who.subject, request.conversation_id, turns)
        return pb.GetConversationResponse(interactions=map(interaction_message, found))

    async def ListInteractions(self, request: pb.ListInteractionsRequest, context: Any) -> pb.ListInteractionsResponse:
        size, after = page_size_of(request.page_size), position_of(request.page_token)
        found = await self._store.interactions(caller().tenant_id, after, size + 1)
        shown = _fitting([interaction_message(interaction) for interaction in found[:size]])
        return pb.ListInteractionsResponse(
            interactions=shown,
            next_page_token=_next_token([Position(item.asked_at, item.interaction_id) for item in found], len(shown)),
        )

    async def ListRatings(self, request: pb.ListRatingsRequest, context: Any) -> pb.ListRatingsResponse:
        size, after = page_size_of(request.page_size), position_of(request.page_token)
        found = await self._store.ratings(caller().tenant_id, after, size + 1)
        shown = _fitting([rating_message(rating) for rating in found[:size]])
        return pb.ListRatingsResponse(
            ratings=shown,
            next_page_token=_next_token([Position(item.rated_at, item.rating_id) for item in found], len(shown)),
        )

    async def ExportRatings(
        self, request: pb.ExportRatingsRequest, context: Any
    ) -> AsyncIterator[pb.ExportRatingsResponse]:
        rows = self._store.export(caller().tenant_id, _rated_after(request))
        async with contextlib.aclosing(rows):
            async for rating, interaction in rows:
                recorded = interaction_message(interaction) if interaction else None
                yield pb.ExportRatingsResponse(rating=rating_message(rating), interaction=recorded)


def _rated_after(request: pb.ExportRatingsRequest) -> datetime | None:
    if not request.HasField("rated_after"):
        return None
    try:
        return request.rated_after.ToDatetime(UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidRatedAfter("rated_after is no time") from error


def _fitting(messages: Sequence[M]) -> Sequence[M]:
    """Return the first messages that together fit in an answer; at least one."""
    total = 0
    for count, message in enumerate(messages):
        total += message.ByteSize()
        if count and total > PAGE_BYTES:
            return messages[:count]
    return messages


def _next_token(positions: Sequence[Position], shown: int) -> str:
    """Return the token of the page after the first `shown` of `positions`; "" when that is all."""
    return positions[shown - 1].token() if shown < len(positions) else ""
