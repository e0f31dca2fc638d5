"""The passage index in Milvus: dense and BM25 search at once, each with its own scores."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import grpc
import numpy as np
from pymilvus import AsyncMilvusClient, MilvusException

from services.common import index
from services.retrieve.adapters.filters import chunks_of, document_of, filter_of, sections_of
from services.retrieve.adapters.rows import FIELDS, hit_of
from services.retrieve.domain.hits import MOST_CHUNKS, Found, Hit, Reader, Search, Section, Vector
from services.retrieve.ports import IndexUnavailable

TIMEOUT_SECONDS = 5.0
PING_SECONDS = 2.0
# What is deleted is never found again, though a distributed Milvus then waits a little.
CONSISTENCY = "Strong"
# At a document that is replaced just now; then each leg counts for what it saw.
LOOKS = 3
# Of the chunks of sections: many more than any budget takes.
MOST_ROWS = 1000

# Milvus' error codes; it has no names for them in its client.
_COLLECTION_NOT_FOUND = 100
_COLLECTION_NOT_LOADED = 101
_OUR_REQUEST_IS_WRONG = 1100
# How BM25 fails where no row has a word yet, and so no average length.
_NO_WORDS = "Invalid sparse row"
# How a search fails in the moment between a collection's making and its indexes'.
_BEING_MADE = "metric type not match"
_MAKING_SECONDS = 0.05

T = TypeVar("T")


class MilvusPassageIndex:
    """A PassageIndex of one collection a tenant and configuration."""

    def __init__(self, client: AsyncMilvusClient) -> None:
        self._client = client

    async def ping(self) -> None:
        """Raise unless Milvus answers."""
        async with asyncio.timeout(PING_SECONDS):
            await self._client.list_collections(timeout=PING_SECONDS)

    async def search(self, search: Search) -> Found:
        collection = search.reader.collection_of(search.embedded.model)
        if not search.reader.principals:
            return Found(collection, ())
        legs = await self._reading(collection, lambda: self._legs(collection, search))
        if legs is None:
            return Found("", ())
        dense, words = legs
        return Found(collection, _united(dense, words, search))

    async def chunks(self, reader: Reader, model: str, chunk_ids: Sequence[str]) -> Found:
        collection = reader.collection_of(model)
        if not reader.principals:
            return Found(collection, ())
        condition = chunks_of(reader.principals, chunk_ids)
        rows = await self._reading(collection, lambda: self._query(collection, condition))
        return Found("", ()) if rows is None else Found(collection, [hit_of(row[index.ID], row) for row in rows])

    async def sections(self, reader: Reader, model: str, sections: Sequence[Section]) -> Sequence[Hit]:
        if not (reader.principals and sections):
            return ()
        collection = reader.collection_of(model)
        condition = sections_of(reader.principals, sections)
        rows = await self._reading(collection, lambda: self._query(collection, condition))
        return [hit_of(row[index.ID], row) for row in rows or ()]

    async def document(self, reader: Reader, model: str, document_id: str, sources: Sequence[str]) -> Found:
        collection = reader.collection_of(model)
        if not reader.principals:
            return Found(collection, ())
        condition = document_of(reader.principals, document_id, sources)
        # While it is replaced, two versions of it may be there.
        rows = await self._reading(collection, lambda: self._query(collection, condition, 2 * MOST_CHUNKS))
        return Found("", ()) if rows is None else Found(collection, [hit_of(row[index.ID], row) for row in rows])

    async def _reading(self, collection: str, read: Callable[[], Awaitable[T]]) -> T | None:
        """Return what `read` gives, or None where the tenant has no index yet."""
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                return await self._once_made(collection, read)
        except MilvusException as error:
            if error.code == _COLLECTION_NOT_FOUND:
                return None
            if error.code == _OUR_REQUEST_IS_WRONG:
                raise
            raise IndexUnavailable("the passage index does not answer") from error
        except (grpc.RpcError, TimeoutError) as error:
            raise IndexUnavailable("the passage index does not answer") from error

    async def _once_made(self, collection: str, read: Callable[[], Awaitable[T]]) -> T:
        while True:
            try:
                return await read()
            except MilvusException as error:
                if error.code == _COLLECTION_NOT_LOADED:
                    # Milvus was restarted.
                    await self._client.load_collection(collection, timeout=TIMEOUT_SECONDS)
                    return await read()
                if _BEING_MADE not in error.message:
                    raise
                await asyncio.sleep(_MAKING_SECONDS)

    async def _legs(self, collection: str, search: Search) -> tuple[Any, Any]:
        """Return what both legs find of the same moment: a document may be replaced between the two."""
        for _ in range(LOOKS):
            # Where one fails the other ends by itself: both have limits of seconds.
            dense, words = await asyncio.gather(self._dense(collection, search), self._words(collection, search))
            if _agree(_versions_of(dense), _versions_of(words)):
                break
        return dense, words

    async def _dense(self, collection: str, search: Search) -> Any:
        return await self._leg(collection, search, index.DENSE, search.embedded.vector, FIELDS)

    async def _words(self, collection: str, search: Search) -> Any:
        if not search.stems:
            return ()
        try:
            # With their vectors, so that what only words have found has a similarity too: it costs no further call.
            return await self._leg(collection, search, index.SPARSE, " ".join(search.stems), [*FIELDS, index.DENSE])
        except MilvusException as error:
            if _NO_WORDS in error.message:
                return ()
            raise

    async def _leg(
        self, collection: str, search: Search, field: str, wanted: Vector | str, fields: Sequence[str]
    ) -> Any:
        results = await self._client.search(
            collection,
            [wanted],
            filter=filter_of(search.reader.principals, search.query.filter),
            anns_field=field,
            limit=search.query.candidate_count,
            output_fields=list(fields),
            timeout=TIMEOUT_SECONDS,
            consistency_level=CONSISTENCY,
        )
        return results[0]

    async def _query(self, collection: str, condition: str, limit: int = MOST_ROWS) -> Any:
        return await self._client.query(
            collection,
            filter=condition,
            limit=limit,
            output_fields=[index.ID, *FIELDS],
            timeout=TIMEOUT_SECONDS,
            consistency_level=CONSISTENCY,
        )


def _versions_of(rows: Any) -> dict[str, int]:
    """Return the newest version that was found of each document."""
    found: dict[str, int] = {}
    for row in rows:
        document_id, version = row["entity"][index.DOCUMENT_ID], row["entity"][index.VERSION]
        found[document_id] = max(version, found.get(document_id, version))
    return found


def _agree(some: dict[str, int], others: dict[str, int]) -> bool:
    return all(some[document_id] == others[document_id] for document_id in some.keys() & others.keys())


def _united(dense: Any, words: Any, search: Search) -> list[Hit]:
    """Return each hit of either leg once, with the scores of both as far as they are known."""
    bm25 = {row[index.ID]: float(row["distance"]) for row in words}
    hits = {
        row[index.ID]: hit_of(row[index.ID], row["entity"], float(row["distance"]), bm25.get(row[index.ID]))
        for row in dense
    }
    for row in words:
        if row[index.ID] not in hits:
            similarity = float(np.dot(np.asarray(row["entity"][index.DENSE], np.float32), search.embedded.vector))
            hits[row[index.ID]] = hit_of(row[index.ID], row["entity"], similarity, bm25[row[index.ID]])
    return list(hits.values())
