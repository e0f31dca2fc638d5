"""Moves tenants from place to place: a look a second, each of which may be the last one of a killed process."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace

import structlog

from services.common.database import Sessions
from services.common.errors import ServiceError
from services.common.identity import Identity
from services.common.placements import EMPTIABLE_SECONDS, MoveState
from services.common.settings import SHARED, Place
from services.ingest.adapters import placements
from services.ingest.adapters.placements import Placed
from services.ingest.adapters.postgres import transaction
from services.ingest.errors import MoveUnderWay, PlaceNotFound
from services.ingest.manifest import Manifest

LOOK_SECONDS = 1.0
# Until every service has seen that a move has begun; what is listed before then might be written to the old place only.
SEEN_SECONDS = 1.0
# Copies on their way at once: the index sets the pace, and the tenant's own changes are not far behind.
WINDOW = 200

# Has the tenant's passages removed from a place; raises ServiceError when that cannot be done now.
Empty = Callable[[str, str], Awaitable[None]]

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a tenant is, and how many documents are copied of how many."""

    placed: Placed
    copied: int = 0
    total: int = 0


class Moves:
    """Where tenants are, and where they shall be."""

    def __init__(self, sessions: Sessions, places: Mapping[str, Place]) -> None:
        self._sessions = sessions
        self._places = places

    async def progress(self, identity: Identity) -> Progress:
        """Return where the tenant is, and how far its move has come."""
        async with transaction(self._sessions) as session:
            placed = await placements.find(session, identity.tenant_id)
            return Progress(placed, *await placements.counts(session, identity.tenant_id))

    async def move(self, identity: Identity, place: str) -> Progress:
        """Begin to move the tenant; a repeat changes nothing, and moving back before the turn cancels.

        Raises:
            PlaceNotFound: there is none, or it is another tenant's.
            MoveUnderWay: another move is not done.
        """
        if place != SHARED and (place not in self._places or self._places[place].tenant != identity.tenant_id):
            raise PlaceNotFound("there is no such place", place=place[:100])
        async with transaction(self._sessions) as session:
            placed = await placements.lock(session, identity.tenant_id)
            if (begun := _begun(placed, place)) is not placed:
                await placements.turn(session, begun)
        return await self.progress(identity)


def _begun(placed: Placed, place: str) -> Placed:
    match placed.state:
        case MoveState.SETTLED if place != placed.place:
            return replace(placed, state=MoveState.COPYING, other_place=place, listed=False)
        case MoveState.COPYING if place == placed.place:
            return replace(placed, state=MoveState.EMPTYING)
        case MoveState.COPYING if place != placed.other_place:
            raise MoveUnderWay("another move is not done", place=placed.other_place)
        case MoveState.EMPTYING if place != placed.place:
            raise MoveUnderWay("the place that was left is not emptied yet", place=placed.other_place)
    return placed


class Mover:
    """Brings every move one step further."""

    def __init__(self, sessions: Sessions, manifest: Manifest, empty: Empty) -> None:
        self._sessions = sessions
        self._manifest = manifest
        self._empty = empty

    async def run(self) -> None:
        """Look for ever."""
        while True:
            try:
                await self.look()
            except ServiceError as error:
                log.warning("mover_waits", reason=error.reason)
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Bring each move one step further; what cannot be done for one tenant holds up no other."""
        async with transaction(self._sessions) as session:
            tenants = await placements.moving(session)
        for tenant_id in tenants:
            try:
                await self._step(tenant_id)
            except ServiceError as error:
                log.warning("move_waits", tenant=tenant_id, reason=error.reason)

    async def _step(self, tenant_id: str) -> None:
        async with transaction(self._sessions) as session:
            placed = await placements.find(session, tenant_id)
        if placed.state is MoveState.COPYING and placed.seconds > SEEN_SECONDS:
            await self._copy(tenant_id)
        elif placed.state is MoveState.EMPTYING and placed.seconds > EMPTIABLE_SECONDS:
            await self._empty(tenant_id, placed.other_place)
            await self._settle(placed)

    async def _copy(self, tenant_id: str) -> None:
        """List what is to be copied, once; give the index the next documents; turn when it has them all."""
        async with transaction(self._sessions) as session:
            placed = await placements.lock(session, tenant_id)
            if placed.state is not MoveState.COPYING:
                return
            if not placed.listed:
                await placements.list_documents(session, tenant_id)
            await placements.note_answered(session, tenant_id)
            await self._manifest.renew(session, await placements.next_to_send(session, tenant_id, WINDOW))
            copied, total = await placements.counts(session, tenant_id)
            if copied == total:
                turned = replace(placed, place=placed.other_place, state=MoveState.EMPTYING, other_place=placed.place)
                await placements.turn(session, turned)
                log.info("tenant_turned", tenant=tenant_id, place=turned.place, documents=total)

    async def _settle(self, emptied: Placed) -> None:
        async with transaction(self._sessions) as session:
            placed = await placements.lock(session, emptied.tenant_id)
            if (placed.state, placed.other_place) == (MoveState.EMPTYING, emptied.other_place):
                await placements.turn(session, replace(placed, state=MoveState.SETTLED, other_place="", listed=False))
                log.info("tenant_settled", tenant=placed.tenant_id, place=placed.place)
