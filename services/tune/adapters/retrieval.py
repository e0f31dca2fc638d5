"""The searches of the retrieve service, and the tuning that ranks them."""

from functools import partial

import grpc
from tandem.retrieve.v1 import retrieve_service_pb2 as pb
from tandem.retrieve.v1 import retrieve_service_pb2_grpc as rpc
from tandem.retrieve.v1 import tuning_service_pb2 as tuning_pb
from tandem.retrieve.v1 import tuning_service_pb2_grpc as tuning_rpc

from services.common.client import Outgoing
from services.common.identity import Identity
from services.common.rerankers import text_of
from services.tune.adapters.calls import options, patiently, reaching
from services.tune.domain.data import Candidate
from services.tune.domain.runs import LiveReranker
from services.tune.ports import Ranked

RETRIEVE = "retrieve"
TUNING_SECONDS = 5.0


class GrpcLiveTuning:
    """A LiveTuning behind a channel: a run's is `patient` with one that is away, a call's is not."""

    def __init__(self, channel: grpc.aio.Channel, outgoing: Outgoing, *, patient: bool = False) -> None:
        self._stub = tuning_rpc.TuningServiceStub(channel)
        self._outgoing = outgoing
        self._patient = patient

    async def get(self, identity: Identity) -> LiveReranker:
        return _live(await self.whole(identity))

    async def put(self, identity: Identity, digest: str, weight: float, expected_version: int) -> LiveReranker:
        tuning = await self.whole(identity)
        tuning.reranker = digest
        if digest:
            tuning.rerank_weight, tuning.rerank_off = weight, False
        else:
            tuning.ClearField("rerank_weight")
        request = tuning_pb.PutTuningRequest(tuning=tuning, expected_version=expected_version)
        with reaching(RETRIEVE):
            answer = await self._stub.PutTuning(request, **options(self._outgoing, identity, TUNING_SECONDS))
        return _live(answer.tuning)

    async def whole(self, identity: Identity) -> tuning_pb.Tuning:
        """Return everything of the tuning that is live."""
        if self._patient:
            return await patiently(partial(self._whole, identity), RETRIEVE)
        with reaching(RETRIEVE):
            return await self._whole(identity)

    async def _whole(self, identity: Identity) -> tuning_pb.Tuning:
        request = tuning_pb.GetTuningRequest()
        answer = await self._stub.GetTuning(request, **options(self._outgoing, identity, TUNING_SECONDS))
        return answer.tuning


class GrpcPassageSearch:
    """A PassageSearch behind a channel."""

    def __init__(self, channel: grpc.aio.Channel, tuning: GrpcLiveTuning, outgoing: Outgoing, seconds: float) -> None:
        self._stub = rpc.RetrieveServiceStub(channel)
        self._tuning = tuning
        self._outgoing = outgoing
        self._seconds = seconds

    async def fused(self, identity: Identity, query: str, depth: int) -> Ranked:
        tuning = await self._tuning.whole(identity)
        tuning.reranker, tuning.rerank_off = "", True
        return await self._search(identity, pb.RetrieveRequest(query=query, top_k=depth, tuning=tuning))

    async def live(self, identity: Identity, query: str, depth: int) -> Ranked:
        return await self._search(identity, pb.RetrieveRequest(query=query, top_k=depth))

    async def _search(self, identity: Identity, request: pb.RetrieveRequest) -> Ranked:
        response = await patiently(partial(self._retrieve, identity, request), RETRIEVE)
        return Ranked(tuple(map(_candidate, response.passages)))

    async def _retrieve(self, identity: Identity, request: pb.RetrieveRequest) -> pb.RetrieveResponse:
        return await self._stub.Retrieve(request, **options(self._outgoing, identity, self._seconds))


def _live(tuning: tuning_pb.Tuning) -> LiveReranker:
    if not tuning.reranker or tuning.rerank_off:
        return LiveReranker(version=tuning.version)
    weight = tuning.rerank_weight if tuning.HasField("rerank_weight") else 1.0
    return LiveReranker(tuning.reranker, weight, tuning.version)


def _candidate(passage: pb.Passage) -> Candidate:
    text = text_of(passage.title, passage.headings, passage.text)
    return Candidate(passage.chunk_id, passage.document_id, text, passage.score)
