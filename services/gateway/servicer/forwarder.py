"""Passes the admin calls of the services behind on, byte for byte, under the caller's verified identity."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, NamedTuple

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from tandem.feedback.v1 import feedback_service_pb2
from tandem.generate.v1 import generate_service_pb2
from tandem.ingest.v1 import index_service_pb2, ingest_service_pb2, placement_service_pb2, secret_service_pb2
from tandem.retrieve.v1 import tuning_service_pb2
from tandem.tune.v1 import dataset_service_pb2, evaluation_service_pb2, gate_service_pb2, registry_service_pb2
from tandem.tune.v1 import tuning_service_pb2 as tune_pb

from services.common.client import Outgoing
from services.common.identity import Identity, caller
from services.gateway.adapters.services import Channels, reaching

_INGEST = ingest_service_pb2.DESCRIPTOR.services_by_name["IngestService"]
_SECRETS = secret_service_pb2.DESCRIPTOR.services_by_name["SecretService"]
_PLACEMENT = placement_service_pb2.DESCRIPTOR.services_by_name["PlacementService"]
_INDEX = index_service_pb2.DESCRIPTOR.services_by_name["IndexService"]
_ADAPTERS = generate_service_pb2.DESCRIPTOR.services_by_name["AdapterService"]
_TUNING = tuning_service_pb2.DESCRIPTOR.services_by_name["TuningService"]
_FEEDBACK = feedback_service_pb2.DESCRIPTOR.services_by_name["FeedbackService"]
_RERANKERS = tune_pb.DESCRIPTOR.services_by_name["TuningService"]
_DATASETS = dataset_service_pb2.DESCRIPTOR.services_by_name["DatasetService"]
_REGISTRY = registry_service_pb2.DESCRIPTOR.services_by_name["RegistryService"]
_EVALUATION = evaluation_service_pb2.DESCRIPTOR.services_by_name["EvaluationService"]
_GATE = gate_service_pb2.DESCRIPTOR.services_by_name["GateService"]


class Forwarded(NamedTuple):
    """The methods of one service that are passed on, and the name of the channel to it."""

    service: ServiceDescriptor
    methods: tuple[str, ...]
    behind: str


FORWARDED = (
    Forwarded(_INGEST, tuple(_INGEST.methods_by_name), "ingest"),
    Forwarded(_SECRETS, tuple(_SECRETS.methods_by_name), "ingest"),
    Forwarded(_PLACEMENT, tuple(_PLACEMENT.methods_by_name), "ingest"),
    Forwarded(_INDEX, tuple(_INDEX.methods_by_name), "ingest"),
    Forwarded(_TUNING, tuple(_TUNING.methods_by_name), "retrieve"),
    Forwarded(_ADAPTERS, tuple(_ADAPTERS.methods_by_name), "generate"),
    # Rate is left out: callers rate through the gateway's own.
    Forwarded(_FEEDBACK, tuple(name for name in _FEEDBACK.methods_by_name if name != "Rate"), "feedback"),
    Forwarded(_RERANKERS, tuple(_RERANKERS.methods_by_name), "tune"),
    Forwarded(_DATASETS, tuple(_DATASETS.methods_by_name), "tune"),
    Forwarded(_REGISTRY, tuple(_REGISTRY.methods_by_name), "tune"),
    Forwarded(_EVALUATION, tuple(_EVALUATION.methods_by_name), "tune"),
    Forwarded(_GATE, tuple(_GATE.methods_by_name), "tune"),
)
FORWARDED_NAMES = tuple(each.service.full_name for each in FORWARDED)

# The channel to whoever serves the identity's tenant.
ChannelOf = Callable[[Identity], Awaitable[grpc.aio.Channel]]


def forwarded_paths() -> frozenset[str]:
    """Return the paths of the RPCs that are passed on, such as "/tandem.ingest.v1.IngestService/GetSource"."""
    return frozenset(f"/{each.service.full_name}/{name}" for each in FORWARDED for name in each.methods)


class Forwarder:
    """Makes the handlers of forwarded calls; what is not on the list stays unimplemented."""

    def __init__(self, outgoing: Outgoing, seconds: float) -> None:
        self._outgoing = outgoing
        self._seconds = seconds

    def handlers(self, channels: Channels) -> Iterable[grpc.GenericRpcHandler]:
        """Return the handlers to add to the gateway's server."""
        return (self._handler(each, _channel_of(channels, each.behind)) for each in FORWARDED)

    def _handler(self, forwarded: Forwarded, channel_of: ChannelOf) -> grpc.GenericRpcHandler:
        methods = {
            name: self._method(forwarded.service.methods_by_name[name], channel_of) for name in forwarded.methods
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


def _channel_of(channels: Channels, behind: str) -> ChannelOf:
    if behind == "generate":
        return channels.generate.channel
    channel: grpc.aio.Channel = getattr(channels, behind)

    async def channel_of(_identity: Identity) -> grpc.aio.Channel:
        return channel

    return channel_of
