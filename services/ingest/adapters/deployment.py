"""Asks embed what indexes it can make, and to remove one, as the part of the platform that has them built."""

import grpc
from tandem.embed.v1 import embed_service_pb2 as pb
from tandem.embed.v1 import embed_service_pb2_grpc

from services.common.access import Role
from services.common.identity import METADATA_KEY, Identity, IdentitySigner
from services.common.index_messages import config_of
from services.common.indexes import Made
from services.ingest.errors import DeploymentUnknown, IndexNotDropped
from services.ingest.indexes import Deployment

ASK_SECONDS = 5.0
DROP_SECONDS = 60.0

Metadata = tuple[tuple[str, bytes], ...]


class GrpcDeployment:
    """Calls IndexService. The identity may read as nobody, and has the one role that the call asks for."""

    def __init__(self, channel: grpc.aio.Channel, signer: IdentitySigner) -> None:
        self._indexes = embed_service_pb2_grpc.IndexServiceStub(channel)
        self._signer = signer

    async def deployed(self, tenant_id: str) -> Deployment:
        """Return what embed can do.

        Raises:
            DeploymentUnknown: it does not say.
        """
        metadata = self._metadata(tenant_id, Role.READER)
        try:
            answer = await self._indexes.GetDeployment(
                pb.GetDeploymentRequest(), timeout=ASK_SECONDS, metadata=metadata
            )
        except grpc.aio.AioRpcError as error:
            raise DeploymentUnknown("embed does not say what it can do", code=error.code().name) from error
        models = {model.name: model.max_tokens for model in answer.models}
        return Deployment(Made(config_of(answer.index), answer.key), models)

    async def drop(self, tenant_id: str, key: str) -> None:
        """Return when the index of that key has nothing of the tenant any more.

        Raises:
            IndexNotDropped: it has, or may have.
        """
        metadata = self._metadata(tenant_id, Role.ADMIN)
        try:
            await self._indexes.DropIndex(pb.DropIndexRequest(key=key), timeout=DROP_SECONDS, metadata=metadata)
        except grpc.aio.AioRpcError as error:
            raise IndexNotDropped("the index is not dropped yet", code=error.code().name) from error

    def _metadata(self, tenant_id: str, role: Role) -> Metadata:
        identity = Identity(tenant_id, "system:builder", (), frozenset({role}))
        return ((METADATA_KEY, self._signer.sign(identity)),)
