"""Whose turn it is: one thing of a tenant at a time, of as many tenants at once as the deployment allows."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence

import structlog

from services.common.faults import described
from services.tune.domain.errors import StoreUnavailable

LOOK_SECONDS = 1.0

log = structlog.get_logger()

Waiting = Callable[[], Awaitable[Sequence[str]]]
Serve = Callable[[str], Awaitable[None]]


class Turns:
    """Has tenants served whose work waits in a store; without its database nobody is, and it is looked again."""

    def __init__(self, kind: str, waiting: Waiting, serve: Serve, at_once: int) -> None:
        """`kind` is for the log; `waiting` gives tenants, the longest waiting first; `serve` works for one of them."""
        self._log = log.bind(kind=kind)
        self._tenants = waiting
        self._serve = serve
        self._at_once = at_once
        self._woken = asyncio.Event()
        self._at_work: set[str] = set()

    def wake(self) -> None:
        """Tell that something waits."""
        self._woken.set()

    async def run(self, sweep: Callable[[], Awaitable[None]]) -> None:
        """Take turns for ever, after `sweep` has been done once."""
        swept = False
        async with asyncio.TaskGroup() as group:
            while True:
                self._woken.clear()
                try:
                    if not swept:
                        await sweep()
                        swept = True
                    await self._look(group)
                except StoreUnavailable:
                    self._log.warning("work_waits_for_the_database")
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_SECONDS):
                        await self._woken.wait()

    async def _look(self, group: asyncio.TaskGroup) -> None:
        for tenant_id in await self._tenants():
            if len(self._at_work) >= self._at_once:
                return
            if tenant_id not in self._at_work:
                self._at_work.add(tenant_id)
                group.create_task(self._served(tenant_id))

    async def _served(self, tenant_id: str) -> None:
        try:
            await self._serve(tenant_id)
        except StoreUnavailable as error:
            self._log.warning("work_lost_the_database", error=described(error))
        finally:
            self._at_work.discard(tenant_id)
