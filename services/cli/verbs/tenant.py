"""tenant: where its index and its engine are, and moving them."""

import time
from typing import Annotated

import typer
from tandem.ingest.v1 import placement_service_pb2 as pb

from services.cli.output import plain, visible
from services.cli.session import Session

POLL_SECONDS = 1.0


def placement(session: Session) -> None:
    """Show where the tenant is, and how far a move has come."""
    _show(session, _placement(session))


def move(
    session: Session,
    place: Annotated[str, typer.Argument(help='The place: "shared", or one that the deployment names.')],
    *,
    wait: Annotated[bool, typer.Option("--wait", help="Return when the move is done.")] = False,
) -> None:
    """Move the tenant, while it is searched and written; moving back before the turn cancels."""
    placement = session.gateway.call(session.gateway.placement.Move, pb.MoveRequest(place=place)).placement
    while wait and placement.state != pb.MOVE_STATE_SETTLED:
        session.output.say(_line(placement), "dim")
        time.sleep(POLL_SECONDS)
        placement = _placement(session)
    _show(session, placement)


def _placement(session: Session) -> pb.Placement:
    return session.gateway.call(session.gateway.placement.GetPlacement, pb.GetPlacementRequest()).placement


def _show(session: Session, placement: pb.Placement) -> None:
    session.output.show({"placement": plain(placement)}, lambda: _line(placement))


def _line(placement: pb.Placement) -> str:
    match placement.state:
        case pb.MOVE_STATE_COPYING:
            copied = f"{placement.copied} of {placement.total} documents are copied"
            return visible(f"the tenant is in {placement.place}, moving to {placement.other_place}: {copied}")
        case pb.MOVE_STATE_EMPTYING:
            return visible(f"the tenant is in {placement.place}; {placement.other_place} is being emptied")
    return visible(f"the tenant is in {placement.place}")
