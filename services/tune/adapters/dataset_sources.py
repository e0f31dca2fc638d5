"""What data sets are made of, from the services that have it, as who started the build may read it."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from functools import partial

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from tandem.feedback.v1 import events_pb2
from tandem.feedback.v1 import feedback_service_pb2 as feedback_pb
from tandem.feedback.v1 import feedback_service_pb2_grpc as feedback_rpc
from tandem.retrieve.v1 import retrieve_service_pb2 as pb
from tandem.retrieve.v1 import retrieve_service_pb2_grpc as rpc

from services.common.client import Outgoing
from services.common.identity import Identity
from services.common.permissions import Permissions
from services.tune.adapters.calls import options, patiently, reaching
from services.tune.adapters.question_sets import PostgresSets
from services.tune.adapters.ratings import EVALUATION, EXPORT_SECONDS
from services.tune.adapters.retrieval import RETRIEVE
from services.tune.datasets.clean.leakage import Golden
from services.tune.datasets.mine.documents import Chunk, Document
from services.tune.datasets.rows import RowPassage
from services.tune.datasets.sources import Passage, Told
from services.tune.domain.evaluations import questions_of

# A document may have a thousand chunks, and a gRPC message is bounded.
DOCUMENTS_AT_ONCE = 5
SETS_AT_ONCE = 20


class GrpcRatedInteractions:
    """RatedInteractions behind a channel."""

    def __init__(self, channel: grpc.aio.Channel, outgoing: Outgoing) -> None:
        self._stub = feedback_rpc.FeedbackServiceStub(channel)
        self._outgoing = outgoing

    async def ratings(self, identity: Identity, rated_after: datetime | None) -> AsyncIterator[Told]:
        request = feedback_pb.ExportRatingsRequest()
        if rated_after:
            request.rated_after.FromDatetime(rated_after)
        with reaching("feedback"):
            # A build waits for a service that is away.
            call = self._stub.ExportRatings(
                request, wait_for_ready=True, **options(self._outgoing, identity, EXPORT_SECONDS)
            )
            try:
                async for exported in call:
                    # What is measured on must not be learnt.
                    if not exported.interaction.conversation_id.startswith(EVALUATION):
                        yield _told(exported)
            finally:
                call.cancel()


class GrpcReadableDocuments:
    """ReadableDocuments behind a channel, with the manifest's word on who may read what."""

    def __init__(self, channel: grpc.aio.Channel, permissions: Permissions, outgoing: Outgoing, seconds: float) -> None:
        self._stub = rpc.RetrieveServiceStub(channel)
        self._permissions = permissions
        self._outgoing = outgoing
        self._seconds = seconds

    async def documents(self, identity: Identity, sources: Sequence[str], most: int) -> AsyncIterator[Document]:
        after, given = "", 0
        while given < most and (ids := await self._permissions.page(identity, after, DOCUMENTS_AT_ONCE)):
            after = ids[-1]
            request = pb.GetDocumentsRequest(document_ids=ids, sources=sources)
            found = (await patiently(partial(self._read, identity, request), RETRIEVE)).passages
            for document_id in ids:
                chunks = [each for each in found if each.document_id == document_id]
                if chunks and given < most:
                    given += 1
                    yield _document(chunks)

    async def passages(self, identity: Identity, chunk_ids: Sequence[str]) -> Sequence[Passage]:
        request = pb.GetPassagesRequest(chunk_ids=chunk_ids)
        found = (await patiently(partial(self._passages, identity, request), RETRIEVE)).passages
        return [Passage(each.chunk_id, _row_passage(each), each.source_name) for each in found]

    async def search(self, identity: Identity, question: str, most: int) -> Sequence[RowPassage]:
        request = pb.RetrieveRequest(query=question, top_k=most)
        found = (await patiently(partial(self._search, identity, request), RETRIEVE)).passages
        return [_row_passage(each) for each in found]

    async def _read(self, identity: Identity, request: pb.GetDocumentsRequest) -> pb.GetDocumentsResponse:
        return await self._stub.GetDocuments(request, **options(self._outgoing, identity, self._seconds))

    async def _passages(self, identity: Identity, request: pb.GetPassagesRequest) -> pb.GetPassagesResponse:
        return await self._stub.GetPassages(request, **options(self._outgoing, identity, self._seconds))

    async def _search(self, identity: Identity, request: pb.RetrieveRequest) -> pb.RetrieveResponse:
        return await self._stub.Retrieve(request, **options(self._outgoing, identity, self._seconds))


class PostgresKeptQuestions:
    """KeptQuestions in the database."""

    def __init__(self, sets: PostgresSets) -> None:
        self._sets = sets

    async def golden(self, identity: Identity) -> Sequence[Golden]:
        found: list[Golden] = []
        after = ""
        while page := await self._sets.page(identity, after, SETS_AT_ONCE):
            after = page[-1].name
            for kept in page:
                _, content = await self._sets.find(identity, kept.name)
                found += [Golden(each.text, each.answers) for each in questions_of(kept.name, content).questions]
        return found


def _told(exported: feedback_pb.ExportRatingsResponse) -> Told:
    rating, told = exported.rating, exported.interaction
    if told.withheld or not told.question:
        return Told(rating.rating_id, withheld=True)
    return Told(
        rating_id=rating.rating_id,
        interaction_id=told.interaction_id,
        conversation=told.conversation_id,
        rater=rating.subject,
        asker=told.subject,
        up=rating.thumb == events_pb2.THUMB_UP,
        correction=rating.correction,
        rated_at=_moment(rating.rated_at),
        asked_at=_moment(told.asked_at),
        # A follow-up stands alone, as it was searched for: its conversation is not in the row.
        question=told.standalone_question or told.question,
        answer=told.answer,
        abstained=told.abstained,
        chunks=tuple(each.chunk_id for each in told.passages),
        documents=tuple(sorted({*(each.document_id for each in told.passages), *told.history_document_ids})),
    )


def _moment(timestamp: Timestamp) -> str:
    return timestamp.ToDatetime(UTC).isoformat(timespec="milliseconds") if timestamp.seconds else ""


def _row_passage(passage: pb.Passage) -> RowPassage:
    return RowPassage(passage.document_id, passage.title, passage.text)


def _document(passages: Sequence[pb.Passage]) -> Document:
    first = passages[0]
    return Document(
        document_id=first.document_id,
        title=first.title,
        source=first.source_name,
        kind=first.kind,
        language=first.language,
        author=first.author,
        at=_moment(first.changed_at),
        chunks=tuple(Chunk(each.chunk_id, each.start_offset, each.end_offset, each.text) for each in passages),
    )
