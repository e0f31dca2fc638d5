"""The passage index of each place, made at its first use."""

from services.common.identity import Identity
from services.common.places import MilvusPlaces
from services.embed.adapters.milvus import CollectionKind, MilvusPassageIndex


class MilvusIndexes:
    """One MilvusPassageIndex a place, for one configuration."""

    def __init__(self, places: MilvusPlaces, kind: CollectionKind) -> None:
        self._places = places
        self._kind = kind
        self._indexes: dict[str, MilvusPassageIndex] = {}

    async def ping(self) -> None:
        """Raise unless the shared Milvus answers."""
        await MilvusPassageIndex(self._places.shared(), self._kind).ping()

    def names(self, identity: Identity) -> list[str]:
        """Return the places that the tenant may be in."""
        return self._places.names(identity)

    def of(self, identity: Identity, place: str) -> MilvusPassageIndex:
        """Return the index of a place.

        Raises:
            PlaceUnknown: the tenant can be in no such place.
        """
        client = self._places.client(identity, place)
        if place not in self._indexes:
            self._indexes[place] = MilvusPassageIndex(client, self._kind)
        return self._indexes[place]
