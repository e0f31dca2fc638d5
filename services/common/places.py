"""The Milvus of each place: a client is opened at its first use, and closed with all others."""

from collections.abc import Mapping

from pydantic import SecretStr
from pymilvus import AsyncMilvusClient

from services.common.identity import Identity
from services.common.index import open_milvus
from services.common.placements import PlaceUnknown
from services.common.settings import SHARED, Place


class MilvusPlaces:
    """The shared Milvus, and those that are a tenant's own."""

    def __init__(self, shared_uri: str, shared_token: SecretStr, places: Mapping[str, Place]) -> None:
        self._shared = shared_uri, shared_token.get_secret_value()
        self._places = places
        self._clients: dict[str, AsyncMilvusClient] = {}

    def client(self, identity: Identity, place: str) -> AsyncMilvusClient:
        """Return a client of a place that the identity's tenant may be in.

        Raises:
            PlaceUnknown: the settings name no such place, or it is another tenant's.
        """
        if place not in self.names(identity):
            raise PlaceUnknown("the tenant is in a place that the settings do not name", place=place)
        return self._opened(place)

    def shared(self) -> AsyncMilvusClient:
        """Return a client of the shared place, for what concerns no tenant."""
        return self._opened(SHARED)

    def names(self, identity: Identity) -> list[str]:
        """Return the places that the identity's tenant may be in."""
        own = (name for name, place in self._places.items() if place.tenant == identity.tenant_id)
        return [SHARED, *own]

    async def close(self) -> None:
        """Close every client."""
        for client in self._clients.values():
            await client.close()

    def _opened(self, place: str) -> AsyncMilvusClient:
        if place not in self._clients:
            self._clients[place] = open_milvus(*self._address(place))
        return self._clients[place]

    def _address(self, place: str) -> tuple[str, ...]:
        if place == SHARED:
            return self._shared
        there = self._places[place]
        return there.milvus_uri, there.milvus_token.get_secret_value(), there.milvus_database
