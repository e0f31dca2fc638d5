"""ErasureService's RPC, for the gateway alone."""

from typing import Any

from tandem.erasure.v1 import erasure_service_pb2 as pb
from tandem.erasure.v1 import erasure_service_pb2_grpc as rpc

from services.common.identity import caller
from services.ingest.adapters.requests import check_readers
from services.ingest.erasure import Erasure
from services.ingest.errors import NothingToErase


class ErasureServicer(rpc.ErasureServiceServicer):
    """Erases in the caller's tenant."""

    def __init__(self, erasure: Erasure) -> None:
        self._erasure = erasure

    async def Erase(self, request: pb.EraseRequest, context: Any) -> pb.EraseResponse:
        match request.WhichOneof("scope"):
            case "person" if request.person.principals:
                check_readers(request.person.principals, NothingToErase)
                erased = await self._erasure.person(caller(), list(dict.fromkeys(request.person.principals)))
            case "whole_tenant":
                erased = await self._erasure.tenant(caller())
            case _:
                raise NothingToErase("the request names neither a person nor the whole tenant")
        removed = [pb.Removed(kind=kind, count=count) for kind, count in sorted(erased.removed.items())]
        return pb.EraseResponse(removed=removed, done=erased.done)
