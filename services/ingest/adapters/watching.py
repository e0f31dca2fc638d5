"""Word of changed paths from the operating system, as it comes."""

import asyncio
from collections.abc import AsyncGenerator, Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

from watchfiles._rust_notify import RustNotify

from services.ingest.errors import PathGone

DEBOUNCE_MS = 100
STEP_MS = 20
HEARTBEAT_MS = 1000


async def follow(folder: Path, *, recursive: bool) -> AsyncGenerator[Collection[Path]]:
    """Yield the paths that changed, or none once a second.

    The first has none, once no later change can be missed. watchfiles' own `awatch` does not
    tell when that is, and its threads are a pool that many watches would drain.

    Raises:
        PathGone: the folder cannot be watched.
    """
    loop, stop = asyncio.get_running_loop(), Event()
    thread = ThreadPoolExecutor(1, "watch")
    try:
        notify = await loop.run_in_executor(thread, _notify, folder, recursive)
        yield ()
        while True:
            found = await loop.run_in_executor(thread, notify.watch, DEBOUNCE_MS, STEP_MS, HEARTBEAT_MS, stop)
            yield {Path(path) for _, path in found} if isinstance(found, set) else ()
    finally:
        stop.set()
        thread.shutdown(wait=False)


def _notify(folder: Path, recursive: bool) -> RustNotify:  # noqa: FBT001 - an executor passes no names
    try:
        return RustNotify([str(folder)], False, False, 0, recursive, True)  # noqa: FBT003 - it takes no names
    except (OSError, RuntimeError) as error:
        raise PathGone("the folder cannot be watched", path=folder) from error
