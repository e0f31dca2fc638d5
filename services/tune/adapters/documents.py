"""What searches find now, as documents: each passage's own, and those in which nearly the same stands."""

from functools import partial

import grpc
from tandem.retrieve.v1 import retrieve_service_pb2 as pb
from tandem.retrieve.v1 import retrieve_service_pb2_grpc as rpc

from services.common.client import Outgoing
from services.common.identity import Identity
from services.tune.adapters.calls import options, patiently

RETRIEVE = "retrieve"


class GrpcDocumentSearch:
    """A DocumentSearch behind a channel; each search must end within `seconds`."""

    def __init__(self, channel: grpc.aio.Channel, outgoing: Outgoing, seconds: float) -> None:
        self._stub = rpc.RetrieveServiceStub(channel)
        self._outgoing = outgoing
        self._seconds = seconds

    async def documents(self, identity: Identity, query: str, passages: int) -> tuple[str, ...]:
        request = pb.RetrieveRequest(query=query, top_k=passages)
        found = (await patiently(partial(self._retrieve, identity, request), RETRIEVE)).passages
        ids = [(passage.document_id, *(place.document_id for place in passage.sources)) for passage in found]
        return tuple(dict.fromkeys(document_id for each in ids for document_id in each))

    async def _retrieve(self, identity: Identity, request: pb.RetrieveRequest) -> pb.RetrieveResponse:
        return await self._stub.Retrieve(request, **options(self._outgoing, identity, self._seconds))
