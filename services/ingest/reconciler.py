"""Publishes again what the index should have answered, slowly enough never to flood it."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from services.ingest import metrics
from services.ingest.errors import ManifestUnavailable
from services.ingest.manifest import Manifest
from services.ingest.progress import Progress

# Changes that were published again and are not answered yet, at most.
WINDOW = 200
LOOK_SECONDS = 1.0
KEEP_REQUESTS = timedelta(days=1)

log = structlog.get_logger()


class Reconciler:
    """Looks about once a second for changes that the log has lost.

    What goes out again is bounded by a window that answers open: the index sets the pace.
    """

    def __init__(
        self, manifest: Manifest, progress: Progress, patience: timedelta, now: Callable[[], datetime]
    ) -> None:
        self._manifest = manifest
        self._progress = progress
        self._patience = patience
        self._now = now

    async def run(self) -> None:
        """Look for ever."""
        while True:
            try:
                await self.look()
            except ManifestUnavailable:
                log.warning("reconciler_waits_for_the_manifest")
            await asyncio.sleep(min(LOOK_SECONDS, self._patience.total_seconds() / 4))

    async def look(self) -> int:
        """Publish again what is lost, as far as the window allows; return how many."""
        now = self._now()
        depth, oldest = await self._manifest.outstanding(now - KEEP_REQUESTS)
        metrics.OUTBOX_DEPTH.set(depth)
        metrics.OLDEST_UNINDEXED.set((now - oldest).total_seconds() if oldest else 0)
        if oldest is None:
            return 0
        again = await self._manifest.republish(self._progress.lost_before(now), self._patience, WINDOW)
        metrics.REPUBLISHED.inc(again)
        if again:
            log.info("republished", documents=again)
        return again
