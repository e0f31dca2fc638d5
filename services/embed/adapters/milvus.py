"""The passage index in Milvus: one collection a tenant."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

import grpc
import orjson
from pymilvus import AsyncMilvusClient, MilvusException
from pymilvus.exceptions import ErrorCode

from services.common import index
from services.common.errors import Unavailable
from services.common.identity import Identity
from services.embed.adapters.milvus_rows import FIELDS, passage_of, row_of, stored_of
from services.embed.domain import Passage, StoredPassage

TIMEOUT_SECONDS = 20.0
ROWS_A_REQUEST = 500
# Milvus takes 64 MiB; a row of many readers is large.
BYTES_A_REQUEST = 16 * 1024**2

_STORED_FIELDS = [index.ID, index.DOCUMENT_ID, index.VERSION, index.ORDINAL, index.CONTENT_DIGEST, index.SUSPICIONS]
# Milvus numbers its faults; these say that a request can never work.
_INPUT_ERRORS = range(1100, 1200)
_NOT_LOADED = {101, 106}

T = TypeVar("T")


class IndexUnavailable(Unavailable):
    """Milvus did not do what it was asked; it may the next time."""

    reason = "INDEX_UNAVAILABLE"


@dataclass(frozen=True, slots=True)
class CollectionKind:
    """What collections are called by, see index.collection_of; how long their vectors are; of which languages."""

    config: str
    dimensions: int
    languages: tuple[str, ...]


class MilvusPassageIndex:
    """The collections of one configuration, made when a tenant's first passage is written."""

    def __init__(self, client: AsyncMilvusClient, kind: CollectionKind) -> None:
        self._client = client
        self._kind = kind
        self._loaded: set[str] = set()
        self._creating = asyncio.Lock()

    async def ping(self) -> None:
        """Raise IndexUnavailable unless Milvus answers."""
        async with self._translated():
            await self._client.list_collections(timeout=TIMEOUT_SECONDS)

    async def stored(self, identity: Identity, document_ids: Sequence[str]) -> list[StoredPassage]:
        """Return what is stored of the documents; all that was written before is seen."""
        rows = await self._query(
            identity.tenant_id,
            output_fields=_STORED_FIELDS,
            filter=f"{index.DOCUMENT_ID} in {index.literal(list(document_ids))}",
        )
        return [stored_of(row) for row in rows]

    async def passages(self, identity: Identity, ids: Sequence[str]) -> list[Passage]:
        """Return whole passages, with vectors; ids that are not there are left out."""
        found: list[Passage] = []
        for some in _runs(ids):
            rows = await self._query(identity.tenant_id, output_fields=FIELDS, ids=some)
            found.extend(passage_of(identity.tenant_id, row) for row in rows)
        return found

    async def upsert(self, identity: Identity, passages: Sequence[Passage]) -> None:
        """Write passages, in their order, replacing those with the same ids."""
        name = await self._existing(identity.tenant_id) or await self._created(identity.tenant_id)
        for rows in _requests(await asyncio.to_thread(self._rows_of, passages)):
            await self._call(name, self._client.upsert(name, data=rows, timeout=TIMEOUT_SECONDS))

    def _rows_of(self, passages: Sequence[Passage]) -> list[index.Row]:
        return [row_of(passage, self._kind.languages) for passage in passages]

    async def delete(self, identity: Identity, ids: Sequence[str]) -> None:
        """Remove passages; ids that are not there are no error."""
        name = await self._existing(identity.tenant_id) if ids else None
        if name:
            for some in _runs(ids):
                await self._call(name, self._client.delete(name, ids=some, timeout=TIMEOUT_SECONDS))

    async def drop(self, identity: Identity) -> int:
        """Remove the tenant's collection, and return how many passages it had; a repeat removes none."""
        await drop_former(self._client, identity.tenant_id, self._kind.config)
        name = index.collection_of(identity.tenant_id, self._kind.config)
        if name not in await collections_of(self._client, identity):
            return 0
        self.forget(name)
        return await drop_collection(self._client, name)

    def forget(self, name: str) -> None:
        """Do not believe any more that a collection is there."""
        self._loaded.discard(name)

    async def _query(self, tenant_id: str, **query: object) -> list[index.Row]:
        name = await self._existing(tenant_id)
        if name is None:
            return []
        # Strong: rows of a version written a moment ago, perhaps by another replica, must be seen.
        asked = self._client.query(name, timeout=TIMEOUT_SECONDS, consistency_level="Strong", **query)
        return list(await self._call(name, asked))

    async def _existing(self, tenant_id: str) -> str | None:
        """Return the tenant's collection, loaded; None where it has none yet."""
        name = index.collection_of(tenant_id, self._kind.config)
        if name not in self._loaded:
            async with self._translated():
                if not await self._client.has_collection(name, timeout=TIMEOUT_SECONDS):
                    return None
                await self._client.load_collection(name, timeout=TIMEOUT_SECONDS)
            self._loaded.add(name)
        return name

    async def _created(self, tenant_id: str) -> str:
        async with self._creating:
            existing = await self._existing(tenant_id)
            if existing:
                return existing
            name = index.collection_of(tenant_id, self._kind.config)
            async with self._translated():
                await self._create(name)
            await drop_former(self._client, tenant_id, self._kind.config)
            self._loaded.add(name)
            return name

    async def _create(self, name: str) -> None:
        indexes = self._client.prepare_index_params()
        indexes.add_index(index.DENSE, index_type="AUTOINDEX", metric_type="COSINE")
        indexes.add_index(index.SPARSE, index_type="SPARSE_INVERTED_INDEX", metric_type="BM25", params=index.BM25)
        schema = index.schema_of(self._kind.dimensions)
        try:
            await self._client.create_collection(
                name, schema=schema, index_params=indexes, timeout=TIMEOUT_SECONDS, consistency_level="Bounded"
            )
        except MilvusException:
            # Another replica may have been faster.
            if not await self._client.has_collection(name, timeout=TIMEOUT_SECONDS):
                raise
            await self._client.load_collection(name, timeout=TIMEOUT_SECONDS)

    async def _call(self, name: str, call: Awaitable[T]) -> T:
        async with self._translated(name):
            return await call

    @asynccontextmanager
    async def _translated(self, name: str = "") -> AsyncIterator[None]:
        try:
            async with translated():
                yield
        except IndexUnavailable as error:
            if isinstance(error.__cause__, MilvusException) and _is_away(error.__cause__):
                # A Milvus that was restarted, or emptied: the next try loads it, or makes it.
                self.forget(name)
            raise


async def collections_of(client: AsyncMilvusClient, identity: Identity) -> list[str]:
    """Return the names of all that the tenant has in a Milvus.

    Raises:
        IndexUnavailable: trying again may help.
    """
    async with translated():
        names = await client.list_collections(timeout=TIMEOUT_SECONDS)
    return [name for name in names if index.is_collection_of(identity.tenant_id, name)]


async def drop_collection(client: AsyncMilvusClient, name: str) -> int:
    """Remove a collection, and return how many passages it had.

    Raises:
        IndexUnavailable: trying again may help.
    """
    async with translated():
        await client.load_collection(name, timeout=TIMEOUT_SECONDS)
        counted = await client.query(
            name, filter="", output_fields=["count(*)"], timeout=TIMEOUT_SECONDS, consistency_level="Strong"
        )
        await client.drop_collection(name, timeout=TIMEOUT_SECONDS)
    return int(counted[0]["count(*)"])


async def drop_former(client: AsyncMilvusClient, tenant_id: str, config: str) -> None:
    """Remove what an older release left: nobody searches it, and nothing deleted would ever leave it.

    Raises:
        IndexUnavailable: trying again may help.
    """
    async with translated():
        for name in index.former_collections_of(tenant_id, config):
            if await client.has_collection(name, timeout=TIMEOUT_SECONDS):
                await client.drop_collection(name, timeout=TIMEOUT_SECONDS)


@asynccontextmanager
async def translated() -> AsyncIterator[None]:
    """Raise IndexUnavailable for what Milvus did not do but may do the next time."""
    try:
        yield
    except grpc.RpcError as error:
        raise IndexUnavailable("the index cannot be reached") from error
    except MilvusException as error:
        if error.code in _INPUT_ERRORS or error.is_input_error:
            raise
        raise IndexUnavailable("the index did not do it", milvus_code=error.code) from error


def _is_away(error: MilvusException) -> bool:
    return error.code in {ErrorCode.COLLECTION_NOT_FOUND, *_NOT_LOADED} or "not loaded" in error.message


def _runs(ids: Sequence[str]) -> Iterator[list[str]]:
    for start in range(0, len(ids), ROWS_A_REQUEST):
        yield list(ids[start : start + ROWS_A_REQUEST])


def _requests(rows: Sequence[index.Row]) -> Iterator[list[index.Row]]:
    request: list[index.Row] = []
    total = 0
    for row in rows:
        size = len(orjson.dumps(row, option=orjson.OPT_SERIALIZE_NUMPY))
        if request and (len(request) == ROWS_A_REQUEST or total + size > BYTES_A_REQUEST):
            yield request
            request, total = [], 0
        request.append(row)
        total += size
    if request:
        yield request
