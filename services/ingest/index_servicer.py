"""IndexService's RPCs."""

from typing import Any

from tandem.common.v1 import index_pb2
from tandem.ingest.v1 import index_service_pb2 as pb
from tandem.ingest.v1 import index_service_pb2_grpc as rpc

from services.common.identity import caller
from services.common.index_messages import message_of
from services.common.indexes import IndexState
from services.ingest.builder import Indexes, Progress
from services.ingest.indexes import Wanted

MOST_REASONS = 10

_STATES = {
    IndexState.SETTLED: pb.INDEX_STATE_SETTLED,
    IndexState.BUILDING: pb.INDEX_STATE_BUILDING,
    IndexState.READY: pb.INDEX_STATE_READY,
    IndexState.KEPT: pb.INDEX_STATE_KEPT,
    IndexState.DROPPING: pb.INDEX_STATE_DROPPING,
}


class IndexServicer(rpc.IndexServiceServicer):
    """Shows and changes the indexes of the caller's own tenant."""

    def __init__(self, indexes: Indexes) -> None:
        self._indexes = indexes

    async def GetIndex(self, request: pb.GetIndexRequest, context: Any) -> pb.GetIndexResponse:
        return pb.GetIndexResponse(index=_message(await self._indexes.progress(caller())))

    async def BuildIndex(self, request: pb.BuildIndexRequest, context: Any) -> pb.BuildIndexResponse:
        return pb.BuildIndexResponse(index=_message(await self._indexes.build(caller(), _wanted(request.config))))

    async def SwitchIndex(self, request: pb.SwitchIndexRequest, context: Any) -> pb.SwitchIndexResponse:
        turned = await self._indexes.switch(caller(), accept_failed=request.accept_failed)
        return pb.SwitchIndexResponse(index=_message(turned))

    async def RevertIndex(self, request: pb.RevertIndexRequest, context: Any) -> pb.RevertIndexResponse:
        return pb.RevertIndexResponse(index=_message(await self._indexes.revert(caller())))

    async def DropIndex(self, request: pb.DropIndexRequest, context: Any) -> pb.DropIndexResponse:
        return pb.DropIndexResponse(index=_message(await self._indexes.drop(caller())))


def _wanted(config: index_pb2.IndexConfig) -> Wanted:
    return Wanted(
        model=config.model,
        languages=tuple(config.languages),
        chunk_tokens=config.chunk_tokens,
        overlap_tokens=config.overlap_tokens if config.HasField("overlap_tokens") else None,
        strategies={each.kind: each.strategy for each in config.strategies},
    )


def _message(progress: Progress) -> pb.TenantIndex:
    owned, counts = progress.owned, progress.counts
    message = pb.TenantIndex(
        state=_STATES[owned.state],
        live=message_of(progress.live.config),
        live_key=progress.live.key,
        documents=counts.documents,
        done=counts.done,
        failed=counts.failed,
        failures=[
            pb.IndexFailure(reason=reason, documents=count)
            for reason, count in list(counts.reasons.items())[:MOST_REASONS]
        ],
    )
    if owned.other:
        message.other.CopyFrom(message_of(owned.other.config))
        message.other_key = owned.other.key
    return message
