"""The passage indexes of each place, made at their first use."""

from services.common import index
from services.common.identity import Identity
from services.common.places import MilvusPlaces
from services.embed.adapters.milvus import (
    CollectionKind,
    MilvusPassageIndex,
    collections_of,
    drop_collection,
    drop_former,
)
from services.embed.recipes import Recipe


class MilvusIndexes:
    """One MilvusPassageIndex a place and recipe."""

    def __init__(self, places: MilvusPlaces, own: CollectionKind) -> None:
        self._places = places
        self._own = own
        self._indexes: dict[tuple[str, CollectionKind], MilvusPassageIndex] = {}

    async def ping(self) -> None:
        """Raise unless the shared Milvus answers."""
        await MilvusPassageIndex(self._places.shared(), self._own).ping()

    def names(self, identity: Identity) -> list[str]:
        """Return the places that the tenant may be in."""
        return self._places.names(identity)

    def of(self, identity: Identity, place: str, recipe: Recipe) -> MilvusPassageIndex:
        """Return the index of a place that is made by a recipe.

        Raises:
            PlaceUnknown: the tenant can be in no such place.
        """
        client = self._places.client(identity, place)
        kind = CollectionKind(recipe.key, recipe.model.dimensions, recipe.config.languages)
        if (place, kind) not in self._indexes:
            self._indexes[place, kind] = MilvusPassageIndex(client, kind)
        return self._indexes[place, kind]

    async def drop(self, identity: Identity, place: str, key: str | None = None) -> int:
        """Remove the tenant's index of a key from a place, or all that it has there; return how many passages it had.

        Raises:
            PlaceUnknown: the tenant can be in no such place.
            IndexUnavailable: trying again may help.
        """
        client = self._places.client(identity, place)
        names = await collections_of(client, identity)
        if key is None:
            await drop_former(client, identity.tenant_id, self._own.config)
        else:
            names = [name for name in names if name == index.collection_of(identity.tenant_id, key)]
        removed = 0
        for name in names:
            removed += await drop_collection(client, name)
            for (where, _), kept in self._indexes.items():
                if where == place:
                    kept.forget(name)
        return removed
