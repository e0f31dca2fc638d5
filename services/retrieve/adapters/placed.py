"""The passage index of wherever the tenant is now."""

from services.common.placements import Placements
from services.common.places import MilvusPlaces
from services.retrieve.adapters.milvus import MilvusPassageIndex
from services.retrieve.domain import Found, Search


class PlacedPassageIndex:
    """A PassageIndex that asks the Milvus of the tenant's place; without knowing that, it asks none."""

    def __init__(self, places: MilvusPlaces, placements: Placements) -> None:
        self._places = places
        self._placements = placements

    async def ping(self) -> None:
        """Raise unless the shared Milvus answers."""
        await MilvusPassageIndex(self._places.shared()).ping()

    async def search(self, search: Search) -> Found:
        """Search the tenant's place.

        Raises:
            IndexUnavailable: its index does not answer.
            PlacementUnavailable, PlaceUnknown: it cannot be told where that is.
        """
        placement = await self._placements.of(search.identity)
        client = self._places.client(search.identity, placement.place)
        return await MilvusPassageIndex(client).search(search)
