"""Brings changed documents into the index: parse, cut, embed what is new, write, then remove what is old."""

import asyncio
from collections import defaultdict
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from services.common.blobs import BlobMissing, Blobs
from services.common.errors import Unavailable
from services.common.identity import system
from services.common.index import chunk_id_of, chunk_key_of
from services.embed.chunking.documents import DocumentChunker
from services.embed.domain import (
    Change,
    Chunk,
    ContentMissing,
    Deleted,
    DocumentRejected,
    Indexed,
    Outcome,
    ParsedDocument,
    StoredPassage,
    ids_of,
    is_complete,
    rejection_of,
)
from services.embed.ports import DocumentParser, PassageIndex
from services.embed.suspicion import suspicions_of
from services.embed.validation import refuse_unstorable
from services.embed.writing import Draft, Plan, Writer

_BLOB_ATTEMPTS = 4
_PART = "embed"

T = TypeVar("T")


class BlobsUnavailable(Unavailable):
    """The blob store did not answer."""

    reason = "BLOBS_UNAVAILABLE"


@dataclass(frozen=True, slots=True)
class Reader:
    """How a document's text is got and cut."""

    blobs: Blobs
    parser: DocumentParser
    chunker: DocumentChunker
    max_bytes: int

    async def chunks_of(self, change: Change) -> list[Chunk]:
        """Return the chunks of the document as it is now.

        Raises:
            DocumentRejected: it can never be read.
        """
        content = await self._content(change)
        document = await self.parser.parse(content, change)
        return await asyncio.to_thread(self._cut, document, change)

    def _cut(self, document: ParsedDocument, change: Change) -> list[Chunk]:
        chunks = self.chunker.chunks_of(document, change)
        return [replace(chunk, suspicions=suspicions_of(f"{chunk.embedded_text}\n\n{chunk.text}")) for chunk in chunks]

    async def _content(self, change: Change) -> bytes:
        patient = AsyncRetrying(
            retry=retry_if_exception_type(BlobMissing),
            stop=stop_after_attempt(_BLOB_ATTEMPTS),
            wait=wait_exponential(0.2),
            reraise=True,
        )
        try:
            return await patient(self.blobs.get, change.blob_key)
        except BlobMissing as error:
            raise ContentMissing("the content is not in the blob store") from error
        except OSError as error:
            raise BlobsUnavailable("the blob store did not answer") from error


class Indexer:
    """Makes the index say what changes say."""

    def __init__(self, index: PassageIndex, reader: Reader, writer: Writer) -> None:
        self._index = index
        self._reader = reader
        self._writer = writer

    async def index(self, changes: Sequence[Change]) -> list[Outcome | None]:
        """Return what became of each change; None where a newer one is on its way.

        `changes` are of different documents. Doing it again changes nothing.

        Raises:
            Unavailable: trying all of it again may help.
        """
        tenants: dict[str, list[Change]] = defaultdict(list)
        for change in changes:
            tenants[change.tenant_id].append(change)
        outcomes: dict[tuple[str, str], Outcome | None] = {}
        for some in tenants.values():
            outcomes |= await self._index_tenant(some)
        return [outcomes[change.key] for change in changes]

    async def withdraw(self, change: Change) -> None:
        """Remove what is stored of a document whose newest version cannot be indexed."""
        identity = system(change.tenant_id, _PART)
        stored = await self._index.stored(identity, [change.document_id])
        await self._index.delete(identity, [row.id for row in stored if row.version <= change.version])

    async def _index_tenant(self, changes: Sequence[Change]) -> dict[tuple[str, str], Outcome | None]:
        stored: dict[str, list[StoredPassage]] = defaultdict(list)
        identity = system(changes[0].tenant_id, _PART)
        for row in await self._index.stored(identity, [change.document_id for change in changes]):
            stored[row.document_id].append(row)
        plans = await _all(self._plan(change, stored[change.document_id]) for change in changes)
        outcomes = await self._writer.carry_out(identity, plans)
        return {change.key: outcome for change, outcome in zip(changes, outcomes, strict=True)}

    async def _plan(self, change: Change, stored: Sequence[StoredPassage]) -> Plan:
        newest = max((row.version for row in stored), default=0)
        complete = is_complete(stored, newest)
        if newest > change.version or (newest == change.version and complete and not change.deleted):
            # Said again, because whoever waits for it may not have heard.
            suspicious = sum(row.is_suspicious for row in stored)
            return Plan(Indexed(newest, len(stored), suspicious_count=suspicious) if complete else None)
        ids = tuple(row.id for row in stored)
        if change.deleted:
            return Plan(Deleted(change.version), stale_ids=ids)
        try:
            refuse_unstorable(change, self._reader.max_bytes)
            if complete and {row.content_digest for row in stored} == {change.content_digest} != {""}:
                return await self._rewritten(change, ids)
            return await self._rebuilt(change, ids)
        except DocumentRejected as error:
            # The version replaced what is stored, so that must not be found any more.
            return Plan(rejection_of(change, error), stale_ids=ids)

    async def _rewritten(self, change: Change, ids: Sequence[str]) -> Plan:
        """Plan the same chunks and vectors under what else changed: readers, title, place."""
        stored = await self._index.passages(system(change.tenant_id, _PART), ids)
        if len(stored) != len(ids):
            return await self._rebuilt(change, ids)
        passages = tuple(
            replace(passage, id=chunk_id_of(passage.id, change.version), change=change) for passage in stored
        )
        suspicious = sum(bool(passage.chunk.suspicions) for passage in passages)
        return Plan(
            Indexed(change.version, len(passages), suspicious_count=suspicious), written=passages, stale_ids=tuple(ids)
        )

    async def _rebuilt(self, change: Change, ids: Sequence[str]) -> Plan:
        chunks = await self._reader.chunks_of(change)
        known = {chunk_key_of(id_): id_ for id_ in ids}
        drafts = tuple(
            Draft(id_, change, chunk, ordinal, known.get(chunk_key_of(id_), ""))
            for ordinal, (id_, chunk) in enumerate(zip(ids_of(change, chunks), chunks, strict=True))
        )
        kept = {draft.id for draft in drafts}
        stale = tuple(id_ for id_ in ids if id_ not in kept)
        suspicious = sum(bool(chunk.suspicions) for chunk in chunks)
        return Plan(Indexed(change.version, len(drafts), suspicious_count=suspicious), drafts=drafts, stale_ids=stale)


async def _all(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Return what all of `work` returns; the first failure stops the rest and is raised as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in work]
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from errors
    return [task.result() for task in tasks]
