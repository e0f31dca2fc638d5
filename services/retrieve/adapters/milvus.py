"""The passage index in Milvus: dense and BM25 search in one request, fused by Milvus."""

import asyncio
from typing import Any

import grpc
from pymilvus import AnnSearchRequest, AsyncMilvusClient, MilvusException, RRFRanker

from services.common import index
from services.retrieve.adapters.rows import FIELDS, hit_of
from services.retrieve.domain import Filter, Found, Search
from services.retrieve.ports import IndexUnavailable

TIMEOUT_SECONDS = 5.0
PING_SECONDS = 2.0
CONSISTENCY = "Strong"

# The constant of reciprocal rank fusion: Cormack, Clarke, Büttcher, SIGIR 2009.
RRF_K = 60

# Milvus' error codes; it has no names for them in its client.
_COLLECTION_NOT_FOUND = 100
_COLLECTION_NOT_LOADED = 101
_OUR_REQUEST_IS_WRONG = 1100
# How BM25 fails where no row has a word yet, and so no average length.
_NO_WORDS = "Invalid sparse row"
# How a search fails in the moment between a collection's making and its indexes'.
_BEING_MADE = "metric type not match"
_MAKING_SECONDS = 0.05


class MilvusPassageIndex:
    """A PassageIndex of one collection a tenant and model."""

    def __init__(self, client: AsyncMilvusClient) -> None:
        self._client = client

    async def ping(self) -> None:
        """Raise unless Milvus answers."""
        async with asyncio.timeout(PING_SECONDS):
            await self._client.list_collections(timeout=PING_SECONDS)

    async def search(self, search: Search) -> Found:
        collection = index.collection_of(search.identity.tenant_id, search.config)
        if not search.principals:
            return Found(collection, ())
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                rows = await self._rows_once_made(collection, search)
        except MilvusException as error:
            if error.code == _COLLECTION_NOT_FOUND:
                return Found("", ())
            if error.code == _OUR_REQUEST_IS_WRONG:
                raise
            raise IndexUnavailable("the passage index does not answer") from error
        except (grpc.RpcError, TimeoutError) as error:
            raise IndexUnavailable("the passage index does not answer") from error
        return Found(collection, [hit_of(row[index.ID], row["distance"], row["entity"]) for row in rows])

    async def _rows_once_made(self, collection: str, search: Search) -> Any:
        while True:
            try:
                return await self._rows(collection, search)
            except MilvusException as error:
                if _BEING_MADE not in error.message:
                    raise
                await asyncio.sleep(_MAKING_SECONDS)

    async def _rows(self, collection: str, search: Search) -> Any:
        if not search.stems:
            return await self._dense(collection, search)
        try:
            return await self._hybrid(collection, search)
        except MilvusException as error:
            if error.code == _COLLECTION_NOT_LOADED:
                # Milvus was restarted.
                await self._client.load_collection(collection, timeout=TIMEOUT_SECONDS)
                return await self._hybrid(collection, search)
            if _NO_WORDS in error.message:
                return await self._dense(collection, search)
            raise

    async def _hybrid(self, collection: str, search: Search) -> Any:
        limit, condition = search.query.candidate_count, filter_of(search.principals, search.query.filter)
        results = await self._client.hybrid_search(
            collection,
            [
                AnnSearchRequest([search.embedded.vector], index.DENSE, {}, limit, expr=condition),
                AnnSearchRequest([" ".join(search.stems)], index.SPARSE, {}, limit, expr=condition),
            ],
            RRFRanker(RRF_K),
            limit=limit,
            output_fields=FIELDS,
            timeout=TIMEOUT_SECONDS,
            # What is deleted is never found again, though a distributed Milvus then waits a little.
            consistency_level=CONSISTENCY,
        )
        return results[0]

    async def _dense(self, collection: str, search: Search) -> Any:
        results = await self._client.search(
            collection,
            [search.embedded.vector],
            filter=filter_of(search.principals, search.query.filter),
            anns_field=index.DENSE,
            limit=search.query.candidate_count,
            output_fields=FIELDS,
            timeout=TIMEOUT_SECONDS,
            # What is deleted is never found again, though a distributed Milvus then waits a little.
            consistency_level=CONSISTENCY,
        )
        return results[0]


def filter_of(principals: tuple[str, ...], wanted: Filter) -> str:
    """Return Milvus' expression of what `principals` may read and `wanted` lets through."""
    clauses = [f"ARRAY_CONTAINS_ANY({index.READERS}, {index.literal(list(principals))})"]
    if wanted.sources:
        sources = index.literal(list(wanted.sources))
        clauses.append(f"({index.SOURCE_ID} in {sources} or {index.SOURCE_NAME} in {sources})")
    if wanted.changed_after_ms is not None:
        clauses.append(f"{index.CHANGED_AT} >= {wanted.changed_after_ms}")
    if wanted.changed_before_ms is not None:
        clauses.append(f"{index.CHANGED_AT} < {wanted.changed_before_ms}")
    for name, value in wanted.metadata.items():
        clauses.append(f"{index.METADATA}[{index.literal(name)}] == {index.literal(value)}")
    return " and ".join(clauses)
