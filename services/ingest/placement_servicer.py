"""PlacementService's RPCs."""

from typing import Any

from tandem.ingest.v1 import placement_service_pb2 as pb
from tandem.ingest.v1 import placement_service_pb2_grpc as rpc

from services.common.identity import caller
from services.common.placements import MoveState
from services.ingest.mover import Moves, Progress

_STATES = {
    MoveState.SETTLED: pb.MOVE_STATE_SETTLED,
    MoveState.COPYING: pb.MOVE_STATE_COPYING,
    MoveState.EMPTYING: pb.MOVE_STATE_EMPTYING,
}


class PlacementServicer(rpc.PlacementServiceServicer):
    """Shows and moves the caller's own tenant."""

    def __init__(self, moves: Moves) -> None:
        self._moves = moves

    async def GetPlacement(self, request: pb.GetPlacementRequest, context: Any) -> pb.GetPlacementResponse:
        return pb.GetPlacementResponse(placement=_message(await self._moves.progress(caller())))

    async def Move(self, request: pb.MoveRequest, context: Any) -> pb.MoveResponse:
        return pb.MoveResponse(placement=_message(await self._moves.move(caller(), request.place)))


def _message(progress: Progress) -> pb.Placement:
    placed = progress.placed
    return pb.Placement(
        place=placed.place,
        state=_STATES[placed.state],
        other_place=placed.other_place,
        copied=progress.copied,
        total=progress.total,
    )
