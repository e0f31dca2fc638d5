"""The engine of each place: a tenant's answers and adapters are its place's engine's alone."""

from collections.abc import Collection, Mapping
from typing import Protocol

import grpc

from services.common.identity import Identity
from services.common.placements import Placement, PlaceUnknown
from services.common.settings import SHARED


class Whereabouts(Protocol):
    """Says where tenants are."""

    async def of(self, identity: Identity) -> Placement:
        """Return where the tenant is; raise Unavailable if it cannot be told."""


class Engines:
    """A channel to the engine of each place, by its name; "shared" is among them."""

    def __init__(self, channels: Mapping[str, grpc.aio.Channel], placements: Whereabouts) -> None:
        self._channels = channels
        self._placements = placements

    def all(self) -> Collection[grpc.aio.Channel]:
        """Return the channel to each engine, wherever a tenant may have been."""
        return self._channels.values()

    async def channel(self, identity: Identity) -> grpc.aio.Channel:
        """Return the channel to the engine that answers the tenant's questions now.

        Raises:
            PlacementUnavailable: it cannot be told where the tenant is.
            PlaceUnknown: the tenant is where the settings name no place.
        """
        placement = await self._placements.of(identity)
        if placement.place not in self._channels:
            raise PlaceUnknown("the tenant is in a place that the settings do not name", place=placement.place)
        return self._channels[placement.place]


def engine_addresses(shared: str, own: Mapping[str, str]) -> dict[str, str]:
    """Return the address of each place's engine; a place without one of its own uses the shared one."""
    return {SHARED: shared} | {place: address or shared for place, address in own.items()}
