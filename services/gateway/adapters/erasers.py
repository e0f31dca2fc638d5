"""Asks the services behind to erase what they keep."""

from typing import Any

import grpc
from tandem.erasure.v1 import erasure_service_pb2 as pb
from tandem.erasure.v1 import erasure_service_pb2_grpc as rpc

from services.common.access import Role
from services.common.client import Outgoing
from services.common.identity import Identity
from services.gateway.adapters.services import reaching
from services.gateway.domain.erasures import SUBJECT, Erasure, Removal, added

CALL_SECONDS = 60.0


class _NoCaller:
    """The context of a call that nobody waits for."""

    def time_remaining(self) -> None:
        """Return that there is no deadline."""


class Eraser:
    """Erases in one service, as the platform."""

    def __init__(self, service: str, channel: grpc.aio.Channel, outgoing: Outgoing) -> None:
        self.service = service
        self._stub = rpc.ErasureServiceStub(channel)
        self._outgoing = outgoing

    async def erase(self, erasure: Erasure) -> Removal:
        """Have the service remove what it can now, and return what that was.

        Raises:
            ServiceUnavailable: it cannot be reached.
            AioRpcError: it could not.
        """
        identity = Identity(erasure.tenant_id, SUBJECT, (), frozenset({Role.ADMIN}))
        options = self._outgoing(identity, _NoCaller(), CALL_SECONDS)
        with reaching(self.service):
            answer: Any = await self._stub.Erase(_request(erasure), **options)
        removed: dict[str, int] = {}
        for each in answer.removed:
            removed = added(removed, {each.kind: each.count})
        return Removal(removed, tuple(answer.stale_adapters), answer.done)


def _request(erasure: Erasure) -> pb.EraseRequest:
    if erasure.is_of_tenant:
        return pb.EraseRequest(whole_tenant=pb.WholeTenant())
    return pb.EraseRequest(person=pb.Person(principals=erasure.principals))
