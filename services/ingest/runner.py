"""Keeps a task for each source that is to be watched, or has still to be synced."""

import asyncio
import contextlib

import structlog

from services.common.faults import described
from services.ingest.catalog import Catalog
from services.ingest.domain import Source
from services.ingest.errors import ManifestUnavailable, PathGone, SourceNotFound, SourceNotSyncable
from services.ingest.sync import Connect, Syncer

POLL_SECONDS = 5.0
RETRY_SECONDS = 2.0

log = structlog.get_logger()


class SourceRunner:
    """Runs what the catalog asks for: started after a restart too, and ended by pause or deletion."""

    def __init__(
        self, catalog: Catalog, syncer: Syncer, connect: Connect, retry_seconds: float = RETRY_SECONDS
    ) -> None:
        self._catalog = catalog
        self._syncer = syncer
        self._connect = connect
        self._retry_seconds = retry_seconds
        self._changed = asyncio.Event()
        self._running: dict[str, asyncio.Task[None]] = {}

    def wake(self) -> None:
        """Tell that a source was made, paused, resumed or deleted."""
        self._changed.set()

    async def run(self) -> None:
        """Start and end tasks as the catalog changes, for ever."""
        async with asyncio.TaskGroup() as group:
            while True:
                self._changed.clear()
                try:
                    await self._match(group)
                except ManifestUnavailable:
                    log.warning("runner_waits_for_the_manifest")
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(POLL_SECONDS):
                        await self._changed.wait()

    async def _match(self, group: asyncio.TaskGroup) -> None:
        wanted = await self._catalog.to_sync()
        self._running = {key: task for key, task in self._running.items() if not task.done()}
        for source_id in self._running.keys() - wanted.keys():
            self._running.pop(source_id).cancel()
        for source_id in wanted.keys() - self._running.keys():
            self._running[source_id] = group.create_task(self._keep(wanted[source_id]))

    async def _keep(self, source: Source) -> None:
        while True:
            try:
                await self._follow(source)
            except (SourceNotFound, SourceNotSyncable):
                return  # paused or deleted meanwhile
            except Exception as error:  # noqa: BLE001 - one source may not end the others; it is logged and tried again
                log.warning("sync_fails", source=source.source_id, error=described(error))
            else:
                return
            await asyncio.sleep(self._retry_seconds)

    async def _follow(self, source: Source) -> None:
        if not (source.config and source.config.watch):
            await self._syncer.sync(source.source_id)
            return
        try:
            async with contextlib.aclosing(self._connect(source).watch()) as found:
                async for hints in found:
                    await self._syncer.sync(source.source_id, hints)
        except PathGone:
            # Either it is gone, which this notes, or it cannot be watched, and this stands in.
            await self._syncer.sync(source.source_id)
            raise
