"""The gRPC face of feedback: checks requests, and translates both ways."""

import contextlib
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

import grpc
from google.protobuf.message import Message
from prometheus_client import Counter
from tandem.erasure.v1 import erasure_service_pb2 as erasure_pb
from tandem.erasure.v1 import erasure_service_pb2_grpc as erasure_rpc
from tandem.feedback.v1 import feedback_service_pb2 as pb
from tandem.feedback.v1 import feedback_service_pb2_grpc as rpc

from services.common.answer_ids import AnswerIds
from services.common.erasing import subjects_of
from services.common.identity import Identity, caller
from services.common.pages import page_size_of
from services.common.permissions import Permissions
from services.feedback.adapters.conversations import PostgresConversations
from services.feedback.adapters.erasure import PostgresErasure
from services.feedback.adapters.messages import conversation_message, interaction_message, rating_message, thumb_of
from services.feedback.adapters.postgres import PostgresFeedback
from services.feedback.domain import (
    Interaction,
    InvalidRatedAfter,
    Position,
    Rated,
    Rating,
    documents_of,
    opinion_of,
    position_of,
    turns_of,
)

# Prompts may be long: a page ends early rather than outgrow a gRPC message.
PAGE_BYTES = 16 * 1024 * 1024

FEEDBACK = pb.DESCRIPTOR.services_by_name["FeedbackService"].full_name
ERASURE = erasure_pb.DESCRIPTOR.services_by_name["ErasureService"].full_name

RATINGS_TOTAL = Counter("tandem_ratings_total", "Ratings kept, new or replaced.", ["thumb"])

M = TypeVar("M", bound=Message)


@dataclass(frozen=True, slots=True)
class Store:
    """Where interactions with their ratings are kept, and people's conversations in them."""

    feedback: PostgresFeedback
    conversations: PostgresConversations


class FeedbackServicer(rpc.FeedbackServiceServicer):
    def __init__(
        self,
        store: Store,
        permissions: Permissions,
        answer_ids: AnswerIds,
        now: Callable[[], datetime],
        new_id: Callable[[], str],
    ) -> None:
        self._store = store.feedback
        self._conversations = store.conversations
        self._permissions = permissions
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
        kept, changed = await self._store.rate(who, rating)
        if changed:
            RATINGS_TOTAL.labels(kept.opinion.thumb).inc()
        return pb.RateResponse(rating=rating_message(kept))

    async def GetConversation(self, request: pb.GetConversationRequest, context: Any) -> pb.GetConversationResponse:
        who, turns = caller(), turns_of(request.max_turns)
        found = await self._conversations.turns(who, request.conversation_id, turns)
        return pb.GetConversationResponse(interactions=map(interaction_message, await self._shown(who, found)))

    async def ListConversations(
        self, request: pb.ListConversationsRequest, context: Any
    ) -> pb.ListConversationsResponse:
        size, after = page_size_of(request.page_size), position_of(request.page_token)
        found = await self._conversations.page(who := caller(), after, size + 1)
        readable = await self._permissions.readable(who, documents_of(found[:size]))
        return pb.ListConversationsResponse(
            conversations=[conversation_message(one, one.title(readable)) for one in found[:size]],
            next_page_token=_next_token([one.position() for one in found], size),
        )

    async def DeleteConversation(
        self, request: pb.DeleteConversationRequest, context: Any
    ) -> pb.DeleteConversationResponse:
        removed = await self._conversations.delete(caller(), request.conversation_id, self._now())
        return pb.DeleteConversationResponse(removed=removed)

    async def ListInteractions(self, request: pb.ListInteractionsRequest, context: Any) -> pb.ListInteractionsResponse:
        size, after = page_size_of(request.page_size), position_of(request.page_token)
        found = await self._store.interactions(who := caller(), after, size + 1)
        shown = _fitting([interaction_message(interaction) for interaction in await self._shown(who, found[:size])])
        return pb.ListInteractionsResponse(
            interactions=shown,
            next_page_token=_next_token([Position(item.asked_at, item.interaction_id) for item in found], len(shown)),
        )

    async def ListRatings(self, request: pb.ListRatingsRequest, context: Any) -> pb.ListRatingsResponse:
        size, after = page_size_of(request.page_size), position_of(request.page_token)
        found = await self._store.ratings(who := caller(), after, size + 1)
        readable = await self._permissions.readable(who, documents_of(found[:size]))
        shown = _fitting(
            [rating_message(one.rating, withheld=one.withheld(who.subject, readable)) for one in found[:size]]
        )
        return pb.ListRatingsResponse(
            ratings=shown,
            next_page_token=_next_token(
                [Position(item.rating.rated_at, item.rating.rating_id) for item in found], len(shown)
            ),
        )

    async def ExportRatings(
        self, request: pb.ExportRatingsRequest, context: Any
    ) -> AsyncIterator[pb.ExportRatingsResponse]:
        batches = self._store.export(who := caller(), _rated_after(request))
        async with contextlib.aclosing(batches):
            async for batch in batches:
                readable = await self._permissions.readable(who, documents_of(batch))
                for one in batch:
                    yield _exported(one, who, readable)

    async def _shown(self, who: Identity, interactions: Sequence[Interaction]) -> list[Interaction]:
        """Return the interactions as the caller may see them now."""
        readable = await self._permissions.readable(who, documents_of(interactions))
        return [interaction.shown(readable) for interaction in interactions]


class ErasureServicer(erasure_rpc.ErasureServiceServicer):
    """Removes people's interactions and ratings."""

    def __init__(self, erasure: PostgresErasure, now: Callable[[], datetime]) -> None:
        self._erasure = erasure
        self._now = now

    async def Erase(self, request: erasure_pb.EraseRequest, context: Any) -> erasure_pb.EraseResponse:
        removed = await self._erasure.erase(caller(), subjects_of(request), self._now())
        counts = [erasure_pb.Removed(kind=kind, count=count) for kind, count in removed.items()]
        # What was stored meanwhile is found by the call after this one.
        return erasure_pb.EraseResponse(removed=counts, done=not counts)


def register(feedback: FeedbackServicer, erasure: ErasureServicer) -> Callable[[grpc.aio.Server], None]:
    """Return what adds both services to a server."""

    def add(server: grpc.aio.Server) -> None:
        rpc.add_FeedbackServiceServicer_to_server(feedback, server)
        erasure_rpc.add_ErasureServiceServicer_to_server(erasure, server)

    return add


def _exported(one: Rated, who: Identity, readable: Collection[str]) -> pb.ExportRatingsResponse:
    recorded = interaction_message(one.interaction.shown(readable)) if one.interaction else None
    rating = rating_message(one.rating, withheld=one.withheld(who.subject, readable))
    return pb.ExportRatingsResponse(rating=rating, interaction=recorded)


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
