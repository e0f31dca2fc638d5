"""IndexService: what indexes this deployment can make, and the removal of those that tenants have left."""

from collections.abc import Mapping
from typing import Any, Protocol

from tandem.embed.v1 import embed_service_pb2 as pb
from tandem.embed.v1 import embed_service_pb2_grpc

from services.common.errors import FailedPrecondition
from services.common.identity import Identity, caller
from services.common.index_messages import message_of
from services.common.indexes import Made, TenantIndex
from services.embed.placing import Indexes


class IndexInUse(FailedPrecondition):
    """The index is not the one that is being dropped, or searches and writes may still use it."""

    reason = "INDEX_IN_USE"


class Configurations(Protocol):
    """Says which indexes tenants have at this moment."""

    async def now(self, identity: Identity) -> TenantIndex:
        """Return the tenant's indexes; raise Unavailable if it cannot be told."""


class IndexServicer(embed_service_pb2_grpc.IndexServiceServicer):
    """Describes the deployment by its default index, and by the tokens that each of its models reads."""

    def __init__(
        self, indexes: Indexes, configurations: Configurations, default: Made, models: Mapping[str, int]
    ) -> None:
        self._indexes = indexes
        self._configurations = configurations
        self._default = default
        self._models = models

    async def GetDeployment(self, request: pb.GetDeploymentRequest, context: Any) -> pb.GetDeploymentResponse:
        """Return what indexes may be made of."""
        models = [pb.EmbeddingModel(name=name, max_tokens=most) for name, most in self._models.items()]
        return pb.GetDeploymentResponse(index=message_of(self._default.config), key=self._default.key, models=models)

    async def DropIndex(self, request: pb.DropIndexRequest, context: Any) -> pb.DropIndexResponse:
        """Remove the tenant's index that is being dropped, wherever the tenant may have it."""
        identity = caller()
        configured = await self._configurations.now(identity)
        if not (configured.droppable and configured.other and configured.other.key == request.key):
            raise IndexInUse("the index may still be used", key=request.key[:100])
        places = self._indexes.names(identity)
        removed = sum([await self._indexes.drop(identity, place, request.key) for place in places])
        return pb.DropIndexResponse(removed=removed)
