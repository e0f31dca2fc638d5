"""Asks embed to empty a place, as the part of the platform that moves tenants."""

import grpc
from tandem.embed.v1 import embed_service_pb2, embed_service_pb2_grpc

from services.common.access import Role
from services.common.errors import Unavailable
from services.common.identity import METADATA_KEY, Identity, IdentitySigner

SECONDS = 60.0


class PlaceNotEmptied(Unavailable):
    """Embed does not answer, or the place is still in use; it is asked again."""

    reason = "PLACE_NOT_EMPTIED"


class GrpcEmptier:
    """Calls PlaceService. The identity may read as nobody, and has the one role that the call asks for."""

    def __init__(self, channel: grpc.aio.Channel, signer: IdentitySigner) -> None:
        self._places = embed_service_pb2_grpc.PlaceServiceStub(channel)
        self._signer = signer

    async def empty(self, tenant_id: str, place: str) -> None:
        """Return when the place has nothing of the tenant any more.

        Raises:
            PlaceNotEmptied: it has, or may have.
        """
        identity = Identity(tenant_id, "system:mover", (), frozenset({Role.ADMIN}))
        metadata = ((METADATA_KEY, self._signer.sign(identity)),)
        try:
            request = embed_service_pb2.EmptyPlaceRequest(place=place)
            await self._places.EmptyPlace(request, timeout=SECONDS, metadata=metadata)
        except grpc.aio.AioRpcError as error:
            raise PlaceNotEmptied("the place is not emptied yet", code=error.code().name) from error
