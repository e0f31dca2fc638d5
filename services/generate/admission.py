"""How many jobs the engine gets at once, and how many may wait for their turn."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from services.generate.domain.errors import EngineBusy


class Admission:
    """Lets `max_running` in at a time, first come first served, while `max_waiting` wait."""

    def __init__(self, max_running: int, max_waiting: int) -> None:
        self.running = 0
        self.waiting = 0
        self._max_waiting = max_waiting
        self._free = asyncio.Semaphore(max_running)

    @contextlib.asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Wait for a place, and hold it.

        Raises:
            EngineBusy: as many wait as may.
        """
        if self._free.locked() and self.waiting >= self._max_waiting:
            raise EngineBusy("as many requests wait as the engine takes", waiting=self.waiting)
        self.waiting += 1
        try:
            await self._free.acquire()
        finally:
            self.waiting -= 1
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1
            self._free.release()
