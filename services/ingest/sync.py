"""Brings the manifest up to what a source shows."""

import asyncio
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TypeVar
from weakref import WeakValueDictionary

from services.common.identity import system
from services.common.telemetry import spanned
from services.ingest import metrics
from services.ingest.catalog import Catalog
from services.ingest.changes import Change, Gone, Known, Tally, compare, refuse_unmounted
from services.ingest.contents import Contents, Stored
from services.ingest.domain import DOCUMENT_TOO_LARGE, EMPTY_DOCUMENT, UNREADABLE, Draft, Failure, Source, SourceState
from services.ingest.errors import ContentsUnavailable, PathGone, SourceNotSyncable
from services.ingest.manifest import Manifest
from services.ingest.ports import Connector, Entry, Listing, TooLarge, Unreadable, Vanished

BATCH = 100
MAX_READS = 4
MAX_HINTS = 500
NOT_STORED = Stored("", "", 0)

Connect = Callable[[Source], Connector]
T = TypeVar("T")


class Syncer:
    """Syncs sources, each one at a time; whoever comes second waits, and then finds less to do."""

    def __init__(
        self, catalog: Catalog, manifest: Manifest, contents: Contents, connect: Connect, max_bytes: int
    ) -> None:
        self._catalog = catalog
        self._manifest = manifest
        self._contents = contents
        self._connect = connect
        self._max_bytes = max_bytes
        self._reads = asyncio.Semaphore(MAX_READS)
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def sync(self, source_id: str, hints: Collection[str] | None = None) -> Tally:
        """Record every difference between a source and the manifest, or those that the hints point to.

        Raises:
            SourceNotFound: the source is gone.
            SourceNotSyncable: it is paused, being deleted, or filled by an application.
            PathGone: it cannot be reached; its documents are kept.
        """
        lock = self._locks.setdefault(source_id, asyncio.Lock())
        async with lock:
            source = await self._catalog.get(source_id)
            if source.state is not SourceState.ACTIVE or source.config is None:
                raise SourceNotSyncable("the source cannot be synced", state=source.state, kind=source.kind)
            started, outcome = time.monotonic(), "failed"
            try:
                with spanned("ingest.sync"):
                    tally = await self._sync(source, hints)
                outcome = "done"
            except (PathGone, ContentsUnavailable) as error:
                await self._catalog.sync_failed(source, str(error))
                raise
            finally:
                metrics.SYNC_SECONDS.labels(outcome).observe(time.monotonic() - started)
        return tally

    async def _sync(self, source: Source, hints: Collection[str] | None) -> Tally:
        only = None if hints is None or len(hints) > MAX_HINTS else hints
        connector = self._connect(source)
        listing = await connector.scan(only)
        known = await self._manifest.known(source.source_id, only)
        refuse_unmounted(listing, known.values(), source.root)
        comparison = compare(listing, known, self._max_bytes)
        gone = Gone(comparison.gone)
        tally = Tally(unchanged=comparison.unchanged)
        for batch in _batches(comparison.suspects):
            drafts = await asyncio.gather(*(self._look(source, connector, entry) for entry in batch))
            found = (_change(known, gone, entry, draft) for entry, draft in zip(batch, drafts, strict=True))
            tally += await self._manifest.record(source.source_id, [change for change in found if change])
        for rows in _batches(list(gone)):
            changes = [Change(row.external_id, row.version, None) for row in rows]
            tally += await self._manifest.record(source.source_id, changes)
        warning = _warning(listing) if only is None else source.last_sync_error
        await self._catalog.synced(source, listing.root, warning)
        return tally

    async def _look(self, source: Source, connector: Connector, entry: Entry) -> Draft | None:
        """Return a document with its content stored, or failed; None when it is not there any more."""
        too_large = Failure(DOCUMENT_TOO_LARGE, f"the document is over {self._max_bytes} bytes")
        if entry.size_bytes > self._max_bytes:
            return _draft(source, entry, failure=too_large)
        async with self._reads:
            try:
                content, entry = await connector.read(entry, self._max_bytes)
            except Vanished:
                return None
            except TooLarge:
                return _draft(source, entry, failure=too_large)
            except Unreadable as error:
                return _draft(source, entry, failure=Failure(UNREADABLE, str(error)))
            if not content:
                return _draft(source, entry, failure=Failure(EMPTY_DOCUMENT, "the document is empty"))
            (stored,) = await self._contents.put(system(source.tenant_id, "sync"), [content])
        return _draft(source, entry, stored)


def _change(known: Mapping[str, Known], gone: Gone, entry: Entry, draft: Draft | None) -> Change | None:
    row = known.get(entry.external_id)
    if draft is None:
        if row and not row.gone:
            gone.add(row)
        return None
    if row is None and (moved := gone.claim(draft.content_digest)):
        return Change(moved.external_id, moved.version, draft)
    return Change(entry.external_id, row.version if row else 0, draft)


def _draft(source: Source, entry: Entry, stored: Stored = NOT_STORED, failure: Failure | None = None) -> Draft:
    return Draft(
        external_id=entry.external_id,
        title=entry.title,
        uri=entry.uri,
        media_type=entry.media_type,
        size_bytes=entry.size_bytes,
        changed_at=entry.changed_at,
        readers=source.readers,
        fingerprint=entry.fingerprint,
        blob_key=stored.blob_key,
        content_digest=stored.content_digest,
        blob_generation=stored.generation,
        failure=failure,
        owner=source.owner,
        follows_source=True,
    )


def _warning(listing: Listing) -> str:
    if not listing.unlisted:
        return ""
    return f"{len(listing.unlisted)} folders cannot be listed, the first is {listing.unlisted[0]}"


def _batches(items: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), BATCH):
        yield items[start : start + BATCH]
