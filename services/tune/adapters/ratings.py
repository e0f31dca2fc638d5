"""What people found good and bad, from the feedback service."""

from collections.abc import AsyncIterator
from datetime import datetime

import grpc
from tandem.feedback.v1 import events_pb2
from tandem.feedback.v1 import feedback_service_pb2 as pb
from tandem.feedback.v1 import feedback_service_pb2_grpc as rpc

from services.common.client import Outgoing
from services.common.identity import Identity
from services.tune.adapters.calls import options, reaching
from services.tune.domain.data import Positive, Question

EXPORT_SECONDS = 600.0
# Conversations of evaluations begin so; what is measured on must not be learnt.
EVALUATION = "evaluation-"


class GrpcRatedAnswers:
    """RatedAnswers behind a channel."""

    def __init__(self, channel: grpc.aio.Channel, outgoing: Outgoing) -> None:
        self._stub = rpc.FeedbackServiceStub(channel)
        self._outgoing = outgoing

    async def questions(self, identity: Identity, rated_after: datetime | None) -> AsyncIterator[Question]:
        request = pb.ExportRatingsRequest()
        if rated_after:
            request.rated_after.FromDatetime(rated_after)
        with reaching("feedback"):
            # A run waits for a service that is away.
            call = self._stub.ExportRatings(
                request, wait_for_ready=True, **options(self._outgoing, identity, EXPORT_SECONDS)
            )
            try:
                async for exported in call:
                    if question := _question(exported):
                        yield question
            finally:
                call.cancel()


def _question(exported: pb.ExportRatingsResponse) -> Question | None:
    """Return what a rating tells of its question: of a good answer, what it cites; of a bad one, what misled it."""
    told, rating = exported.interaction, exported.rating
    measured = told.overridden or told.conversation_id.startswith(EVALUATION)
    if told.withheld or not told.question or measured:
        return None
    cited = [each for each in told.passages if each.cited]
    people = frozenset({rating.subject, told.subject})
    if rating.thumb == events_pb2.THUMB_DOWN:
        return Question(told.question, (), frozenset(each.chunk_id for each in cited), people)
    right = {each.document_id for each in cited}
    wrong = {each.chunk_id for each in told.passages if each.document_id not in right}
    positives = tuple(Positive(document_id) for document_id in sorted(right))
    return Question(told.question, positives, frozenset(wrong), people)
