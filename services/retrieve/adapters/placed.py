"""The passage index of wherever the tenant is now."""

from collections.abc import Sequence

from services.common.identity import Identity
from services.common.placements import Placements
from services.common.places import MilvusPlaces
from services.retrieve.adapters.milvus import MilvusPassageIndex
from services.retrieve.domain.hits import Found, Hit, Reader, Search, Section


class PlacedPassageIndex:
    """A PassageIndex that asks the Milvus of the tenant's place; without knowing that, it asks none.

    Every method raises PlacementUnavailable or PlaceUnknown where it cannot be told.
    """

    def __init__(self, places: MilvusPlaces, placements: Placements) -> None:
        self._places = places
        self._placements = placements

    async def ping(self) -> None:
        """Raise unless the shared Milvus answers."""
        await MilvusPassageIndex(self._places.shared()).ping()

    async def search(self, search: Search) -> Found:
        return await (await self._index_of(search.reader.identity)).search(search)

    async def chunks(self, reader: Reader, model: str, chunk_ids: Sequence[str]) -> Found:
        return await (await self._index_of(reader.identity)).chunks(reader, model, chunk_ids)

    async def sections(self, reader: Reader, model: str, sections: Sequence[Section]) -> Sequence[Hit]:
        return await (await self._index_of(reader.identity)).sections(reader, model, sections)

    async def document(self, reader: Reader, model: str, document_id: str, sources: Sequence[str]) -> Found:
        return await (await self._index_of(reader.identity)).document(reader, model, document_id, sources)

    async def _index_of(self, identity: Identity) -> MilvusPassageIndex:
        placement = await self._placements.of(identity)
        return MilvusPassageIndex(self._places.client(identity, placement.place))
