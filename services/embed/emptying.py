"""PlaceService and ErasureService: remove all that the index has of a tenant, in one place or in all."""

from typing import Any, Protocol

from tandem.embed.v1 import embed_service_pb2, embed_service_pb2_grpc
from tandem.erasure.v1 import erasure_service_pb2, erasure_service_pb2_grpc

from services.common.errors import FailedPrecondition, InvalidArgument
from services.common.identity import Identity, caller
from services.common.placements import Placement
from services.embed.placing import Indexes

CHUNKS = "chunks"


class PlaceInUse(FailedPrecondition):
    """The tenant is in the place, or searches and writes may still use it."""

    reason = "PLACE_IN_USE"


class NothingToErase(InvalidArgument):
    """The request names neither a person nor the tenant."""

    reason = "NOTHING_TO_ERASE"


class Whereabouts(Protocol):
    """Says where tenants are at this moment."""

    async def now(self, identity: Identity) -> Placement:
        """Return where the tenant is; raise Unavailable if it cannot be told."""


class PlaceServicer(embed_service_pb2_grpc.PlaceServiceServicer):
    """Empties what tenants have left."""

    def __init__(self, indexes: Indexes, placements: Whereabouts) -> None:
        self._indexes = indexes
        self._placements = placements

    async def EmptyPlace(
        self, request: embed_service_pb2.EmptyPlaceRequest, context: Any
    ) -> embed_service_pb2.EmptyPlaceResponse:
        """Remove the tenant's passages from a place that nobody uses any more."""
        identity = caller()
        placement = await self._placements.now(identity)
        if not placement.emptiable or request.place != placement.other_place:
            raise PlaceInUse("the place may still be used", place=request.place)
        removed = await self._indexes.drop(identity, request.place)
        return embed_service_pb2.EmptyPlaceResponse(removed=removed)


class ErasureServicer(erasure_service_pb2_grpc.ErasureServiceServicer):
    """Removes a whole tenant's passages; of a person the index has nothing that is not a document's."""

    def __init__(self, indexes: Indexes) -> None:
        self._indexes = indexes

    async def Erase(self, request: erasure_service_pb2.EraseRequest, context: Any) -> erasure_service_pb2.EraseResponse:
        """Remove, and count; what ingest still publishes of the tenant is for it to end first."""
        if request.WhichOneof("scope") is None:
            raise NothingToErase("neither a person nor the tenant is named")
        removed = await self._everywhere(caller()) if request.HasField("whole_tenant") else 0
        counted = [erasure_service_pb2.Removed(kind=CHUNKS, count=removed)] if removed else ()
        return erasure_service_pb2.EraseResponse(removed=counted, done=True)

    async def _everywhere(self, identity: Identity) -> int:
        """Drop what the tenant has in every place that it may be in, wherever it is said to be now."""
        return sum([await self._indexes.drop(identity, place) for place in self._indexes.names(identity)])
