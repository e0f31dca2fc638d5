"""Kept sets as golden sets, and searches that give the passages to answer their questions from."""

from functools import partial

import grpc
from tandem.retrieve.v1 import retrieve_service_pb2 as pb
from tandem.retrieve.v1 import retrieve_service_pb2_grpc as rpc

from services.common.client import Outgoing
from services.common.evaluation.questions import Question
from services.common.identity import Identity
from services.common.permissions import Permissions
from services.tune.adapters.calls import options, patiently
from services.tune.adapters.question_sets import PostgresSets
from services.tune.domain.evaluations import questions_of
from services.tune.gate.ports import GivenPassage

RETRIEVE = "retrieve"


class KeptGoldenSets:
    """GoldenSets among the sets that a tenant keeps."""

    def __init__(self, sets: PostgresSets, permissions: Permissions) -> None:
        self._sets = sets
        self._permissions = permissions

    async def questions(self, identity: Identity, name: str) -> tuple[Question, ...]:
        kept, content = await self._sets.find(identity, name)
        found = questions_of(kept.name, content).questions
        named = {document for question in found for document in question.documents}
        readable = await self._permissions.readable(identity, named) if named else {}
        return tuple(question for question in found if question.documents.keys() <= readable.keys())


class GrpcGoldenPassages:
    """A GoldenPassages behind a channel; each search must end within `seconds`."""

    def __init__(self, channel: grpc.aio.Channel, outgoing: Outgoing, seconds: float) -> None:
        self._stub = rpc.RetrieveServiceStub(channel)
        self._outgoing = outgoing
        self._seconds = seconds

    async def passages(self, identity: Identity, query: str, top_k: int) -> tuple[GivenPassage, ...]:
        request = pb.RetrieveRequest(query=query, top_k=top_k)
        found = (await patiently(partial(self._retrieve, identity, request), RETRIEVE)).passages
        best = max((passage.score for passage in found), default=0.0)
        return tuple(_given(passage, best) for passage in found)

    async def _retrieve(self, identity: Identity, request: pb.RetrieveRequest) -> pb.RetrieveResponse:
        return await self._stub.Retrieve(request, **options(self._outgoing, identity, self._seconds))


def _given(passage: pb.Passage, best: float) -> GivenPassage:
    """Return a passage as the gateway gives it to the engine: its relevance is beside the best one's."""
    return GivenPassage(
        passage.title,
        passage.text,
        (passage.document_id, *(place.document_id for place in passage.sources)),
        max(0.0, passage.score / best) if best > 0 else 0.0,
        "\n".join((passage.title, *passage.headings)),
    )
