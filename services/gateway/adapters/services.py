"""The services behind the gateway: channels and stubs made once, and what each call carries."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import grpc
from tandem.feedback.v1 import feedback_service_pb2 as feedback_pb
from tandem.feedback.v1 import feedback_service_pb2_grpc as feedback_rpc
from tandem.generate.v1 import generate_service_pb2 as generate_pb
from tandem.generate.v1 import generate_service_pb2_grpc as generate_rpc
from tandem.retrieve.v1 import retrieve_service_pb2 as retrieve_pb
from tandem.retrieve.v1 import retrieve_service_pb2_grpc as retrieve_rpc

from services.common.client import Outgoing
from services.common.errors import Unavailable
from services.common.identity import Identity
from services.common.interceptors import DETAILS_KEY
from services.gateway.adapters.engines import Engines


class ServiceUnavailable(Unavailable):
    """A service behind the gateway cannot be reached."""

    reason = "SERVICE_UNAVAILABLE"


@dataclass(frozen=True, slots=True)
class Channels:
    """One channel to each service behind, and to the engine of each place."""

    ingest: grpc.aio.Channel
    retrieve: grpc.aio.Channel
    generate: Engines
    feedback: grpc.aio.Channel
    embed: grpc.aio.Channel
    tune: grpc.aio.Channel


@dataclass(frozen=True, slots=True)
class Limits:
    """The most seconds that each kind of call may take."""

    retrieve: float
    generate: float
    feedback: float


@dataclass(frozen=True, slots=True)
class Caller:
    """Whom a call behind acts for, and the RPC it is part of."""

    identity: Identity
    context: Any


class Services:
    """Calls the services behind, on behalf of a caller. Their errors pass through."""

    def __init__(self, channels: Channels, outgoing: Outgoing, limits: Limits) -> None:
        self._retrieve = retrieve_rpc.RetrieveServiceStub(channels.retrieve)
        self._engines = channels.generate
        self._feedback = feedback_rpc.FeedbackServiceStub(channels.feedback)
        self._outgoing = outgoing
        self._limits = limits

    async def retrieve(self, request: retrieve_pb.RetrieveRequest, caller: Caller) -> retrieve_pb.RetrieveResponse:
        """Return the passages that answer a query best."""
        options = self._outgoing(caller.identity, caller.context, self._limits.retrieve)
        with reaching("retrieve"):
            return await self._retrieve.Retrieve(request, **options)

    async def generate(
        self, request: generate_pb.GenerateRequest, caller: Caller
    ) -> grpc.aio.UnaryStreamCall[generate_pb.GenerateRequest, generate_pb.GenerateResponse]:
        """Start an answer; read its events under `reaching("generate")`."""
        options = self._outgoing(caller.identity, caller.context, self._limits.generate)
        engine = generate_rpc.GenerateServiceStub(await self._engines.channel(caller.identity))
        return engine.Generate(request, **options)

    async def conversation(
        self, request: feedback_pb.GetConversationRequest, caller: Caller
    ) -> feedback_pb.GetConversationResponse:
        """Return the turns of the caller's conversation; one that is not there, or is another's, has none."""
        options = self._outgoing(caller.identity, caller.context, self._limits.feedback)
        with reaching("feedback"):
            try:
                return await self._feedback.GetConversation(request, **options)
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.NOT_FOUND:
                    raise
        return feedback_pb.GetConversationResponse()

    async def rate(self, request: feedback_pb.RateRequest, caller: Caller) -> feedback_pb.RateResponse:
        """Keep the caller's opinion of an answer."""
        options = self._outgoing(caller.identity, caller.context, self._limits.feedback)
        with reaching("feedback"):
            return await self._feedback.Rate(request, **options)


@contextlib.contextmanager
def reaching(service: str) -> Iterator[None]:
    """Say which service is away, where gRPC would show its address.

    Raises:
        ServiceUnavailable: nothing answered; what the service itself says passes through.
    """
    try:
        yield
    except grpc.aio.AioRpcError as error:
        said_by_service = any(key == DETAILS_KEY for key, _ in error.trailing_metadata() or ())
        if error.code() is grpc.StatusCode.UNAVAILABLE and not said_by_service:
            raise ServiceUnavailable(f"the {service} service cannot be reached", service=service) from error
        raise
