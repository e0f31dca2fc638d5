"""Removes what nobody needs any more: contents from the blob store, and sets of readers."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import structlog

from services.common.blobs import Blobs
from services.common.database import Sessions
from services.ingest import metrics
from services.ingest.adapters import blobs, readers
from services.ingest.adapters.postgres import transaction
from services.ingest.errors import ContentsUnavailable, ManifestUnavailable

BATCH = 100
LOOK_SECONDS = 60.0
# Whoever put a content and has not told of its document by then was killed.
ORPHANED = timedelta(hours=1)
SETS_EVERY = timedelta(minutes=1)

log = structlog.get_logger()


class Sweeper:
    """Looks when it is woken, and once a minute."""

    def __init__(self, sessions: Sessions, store: Blobs, now: Callable[[], datetime]) -> None:
        self._sessions = sessions
        self._store = store
        self._now = now
        self._woken = asyncio.Event()
        self._unused: set[readers.Set] = set()
        self._done_at: dict[str, datetime] = {}

    def wake(self) -> None:
        """Tell that something may be needed no more."""
        self._woken.set()

    async def run(self) -> None:
        """Sweep for ever."""
        while True:
            self._woken.clear()
            try:
                await self.look()
            except (ManifestUnavailable, ContentsUnavailable) as error:
                log.warning("sweeper_waits", reason=error.reason)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._woken.wait()

    async def look(self) -> None:
        """Remove doubted contents; once a minute unused sets too, and once an hour what killed calls left."""
        now = self._now()
        if self._is_time("orphans", now, ORPHANED):
            async with transaction(self._sessions) as session:
                await blobs.doubt_orphans(session, now - ORPHANED)
        if self._is_time("sets", now, SETS_EVERY):
            await self.sweep_sets()
        await self.sweep()

    def _is_time(self, what: str, now: datetime, every: timedelta) -> bool:
        if what in self._done_at and now - self._done_at[what] < every:
            return False
        self._done_at[what] = now
        return True

    async def sweep(self, tenant_id: str = "") -> int:
        """Remove the doubted contents that nobody needs, of a tenant ("": of all); return how many.

        Raises:
            ContentsUnavailable: the store did not remove one of them.
        """
        removed = 0
        while batch := await self._sweep(tenant_id):
            removed += batch[1]
            if batch[0] < BATCH:
                break
        return removed

    async def sweep_sets(self, tenant_id: str = "") -> int:
        """Remove the sets that were not used at the last look either; a tenant's own at once.

        Return how many members they had.
        """
        async with transaction(self._sessions) as session:
            unused = await readers.unused(session)
        # The index may still know a set for a moment after its last document has left it.
        ripe = {one for one in unused if one[0] == tenant_id} if tenant_id else unused & self._unused
        removed = 0
        for one in sorted(ripe):
            async with transaction(self._sessions) as session:
                removed += await readers.remove(session, one)
        self._unused = unused - ripe
        return removed

    async def _sweep(self, tenant_id: str) -> tuple[int, int]:
        """Return how many were looked at, and how many removed, of one batch."""
        async with transaction(self._sessions) as session:
            keys = await blobs.take_doubted(session, tenant_id, BATCH)
            if not keys:
                return 0, 0
            # A new look at the documents, which sees all that was committed before the rows were locked.
            needed = await blobs.needed(session, keys)
            gone = [key for key in keys if key not in needed]
            await self._remove(gone)
            await blobs.trust(session, needed)
            await blobs.remove(session, gone)
        metrics.BLOBS_REMOVED.inc(len(gone))
        return len(keys), len(gone)

    async def _remove(self, keys: Sequence[str]) -> None:
        """Remove contents from the store; ends when none of them is being removed any more, cancelled or not."""
        removing = asyncio.gather(*map(self._store.remove, keys), return_exceptions=True)
        try:
            outcomes = await asyncio.shield(removing)
        except asyncio.CancelledError:
            # Their rows are locked only as long as we are here.
            await removing
            raise
        for outcome in outcomes:
            if isinstance(outcome, OSError):
                raise ContentsUnavailable("a content cannot be removed") from outcome
            if isinstance(outcome, BaseException):
                raise outcome
