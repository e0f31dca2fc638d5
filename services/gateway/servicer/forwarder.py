"""Passes the admin calls of the services behind on, byte for byte, under the caller's verified identity."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, NamedTuple

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from tandem.feedback.v1 import feedback_service_pb2
from tandem.generate.v1 import generate_service_pb2
from tandem.ingest.v1 import ingest_service_pb2, placement_service_pb2, secret_service_pb2

from services.common.client import Outgoing
from services.common.identity import Identity, caller
from services.gateway.adapters.services import Channels, reaching

INGEST = ingest_service_pb2.DESCRIPTOR.services_by_name["IngestService"]
PLACEMENT = placement_service_pb2.DESCRIPTOR.services_by_name["PlacementService"]
SECRETS = secret_service_pb2.DESCRIPTOR.services_by_name["SecretService"]
ADAPTERS = generate_service_pb2.DESCRIPTOR.services_by_name["AdapterService"]
FEEDBACK = feedback_service_pb2.DESCRIPTOR.services_by_name["FeedbackService"]

# Rate is left out: callers rate through the gateway's own.
FEEDBACK_READS = ("GetConversation", "ListInteractions", "ListRatings", "ExportRatings")

FORWARDED_NAMES = tuple(service.full_name for service in (INGEST, PLACEMENT, SECRETS, ADAPTERS, FEEDBACK))

# The channel to whoever serves the identity's tenant.
ChannelOf = Callable[[Identity], Awaitable[grpc.aio.Channel]]


class Forwarded(NamedTuple):
    """The methods of one service that are passed on, and where to."""

    service: ServiceDescriptor
    methods: tuple[str, ...]
    channel_of: ChannelOf


class Forwarder:
    """Makes the handlers of forwarded calls; what is not on the list stays unimplemented."""

    def __init__(self, outgoing: Outgoing, seconds: float) -> None:
        self._outgoing = outgoing
        self._seconds = seconds

    def handlers(self, channels: Channels) -> Iterable[grpc.GenericRpcHandler]:
        """Return the handlers to add to the gateway's server."""
        return map(
            self._handler,
            (
                Forwarded(INGEST, tuple(INGEST.methods_by_name), _always(channels.ingest)),
                Forwarded(PLACEMENT, tuple(PLACEMENT.methods_by_name), _always(channels.ingest)),
                Forwarded(SECRETS, tuple(SECRETS.methods_by_name), _always(channels.ingest)),
                Forwarded(ADAPTERS, tuple(ADAPTERS.methods_by_name), channels.generate.channel),
                Forwarded(FEEDBACK, FEEDBACK_READS, _always(channels.feedback)),
            ),
        )

    def _handler(self, forwarded: Forwarded) -> grpc.GenericRpcHandler:
        methods = {
            name: self._method(forwarded.service.methods_by_name[name], forwarded.channel_of)
            for name in forwarded.methods
        }
        return grpc.method_handlers_generic_handler(forwarded.service.full_name, methods)

    def _method(self, method: MethodDescriptor, channel_of: ChannelOf) -> "grpc.RpcMethodHandler[Any, Any]":
        service = method.containing_service
        path, name = f"/{service.full_name}/{method.name}", service.full_name.split(".")[1]
        if method.server_streaming:
            return grpc.unary_stream_rpc_method_handler(self._streaming(channel_of, path, name))
        return grpc.unary_unary_rpc_method_handler(self._unary(channel_of, path, name))

    def _unary(self, channel_of: ChannelOf, path: str, service: str) -> Any:
        async def forward(request: bytes, context: Any) -> bytes:
            send: Callable[..., Any] = (await channel_of(caller())).unary_unary(path)
            with reaching(service):
                return bytes(await send(request, **self._outgoing(caller(), context, self._seconds)))

        return forward

    def _streaming(self, channel_of: ChannelOf, path: str, service: str) -> Any:
        async def forward(request: bytes, context: Any) -> AsyncIterator[bytes]:
            send: Callable[..., Any] = (await channel_of(caller())).unary_stream(path)
            call = send(request, **self._outgoing(caller(), context, self._seconds))
            try:
                with reaching(service):
                    async for response in call:
                        yield response
            finally:
                call.cancel()

        return forward


def _always(channel: grpc.aio.Channel) -> ChannelOf:
    async def channel_of(_identity: Identity) -> grpc.aio.Channel:
        return channel

    return channel_of
