"""Remembers for a moment what a store said, so that not every call asks it."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Recent(Generic[K, V]):
    """Asks `find` once for all who want the same at once, and keeps the answer, for `seconds`.

    What was not found is kept too. At most `most` answers are kept; the oldest goes first.
    """

    def __init__(
        self,
        find: Callable[[K], Awaitable[V]],
        seconds: float,
        most: int = 10_000,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._find = find
        self._seconds = seconds
        self._most = most
        self._now = now
        self._kept: dict[K, tuple[float, asyncio.Task[V]]] = {}

    async def get(self, key: K) -> V:
        """Return what `find` gives for `key`, or gave less than `seconds` ago, or raise what it raises."""
        until, finding = self._kept.get(key, (0.0, None))
        if finding is None or until <= self._now():
            finding = self._ask(key)
        if not finding.done():
            # The answer is for others too: a caller that goes away must not end the search.
            return await asyncio.shield(finding)
        return finding.result()

    def forget(self, key: K) -> None:
        """Ask anew the next time."""
        self._kept.pop(key, None)

    def forget_where(self, concerned: Callable[[K], bool]) -> None:
        """Ask anew the next time for every key that is `concerned`."""
        for key in list(filter(concerned, self._kept)):
            del self._kept[key]

    def _ask(self, key: K) -> asyncio.Task[V]:
        self._kept.pop(key, None)
        while len(self._kept) >= self._most:
            del self._kept[next(iter(self._kept))]
        finding = asyncio.ensure_future(self._found(key))
        # Counted from before the search: what it read may be as old as that.
        self._kept[key] = (self._now() + self._seconds, finding)
        return finding

    async def _found(self, key: K) -> V:
        try:
            return await self._find(key)
        except BaseException:
            self.forget(key)
            raise
