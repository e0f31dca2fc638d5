"""Queries embedded by the embed service."""

import grpc
import numpy as np
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tandem.embed.v1 import embed_service_pb2, embed_service_pb2_grpc

from services.common.client import CallOptions
from services.retrieve.domain.hits import Embedded
from services.retrieve.ports import EmbedderUnavailable

PING_SECONDS = 2.0


class GrpcQueryEmbedder:
    """A QueryEmbedder behind a channel."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = embed_service_pb2_grpc.EmbedServiceStub(channel)
        self._health = health_pb2_grpc.HealthStub(channel)

    async def ping(self) -> None:
        """Raise unless the embed service is ready."""
        answer = await self._health.Check(health_pb2.HealthCheckRequest(), timeout=PING_SECONDS)
        if answer.status != health_pb2.HealthCheckResponse.SERVING:
            raise EmbedderUnavailable("the embed service is not ready")

    async def embed(self, text: str, call: CallOptions, model: str = "") -> Embedded:
        request = embed_service_pb2.EmbedRequest(texts=[text], model=model)
        try:
            response = await self._stub.Embed(request, **call)
        except grpc.aio.AioRpcError as error:
            if error.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}:
                raise EmbedderUnavailable("the embed service does not answer") from error
            if model and error.code() is grpc.StatusCode.INVALID_ARGUMENT:
                # A query is checked before; the index is of a model that the deployment has no more.
                raise EmbedderUnavailable("the embed service does not have the index's model", model=model) from error
            raise
        return Embedded(np.frombuffer(response.vectors[0].values, "<f4"), response.model)
