"""Writes the audit log in batches, so that nobody waits for it who need not."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import structlog

from services.common.errors import Unavailable
from services.gateway.domain.audit import AuditEvent, AuditUnavailable
from services.gateway.metrics import AUDIT_LOST

BATCH = 200
FLUSH_SECONDS = 0.05
RETRY_SECONDS = 0.5
STOP_SECONDS = 4.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many events may wait, how long a batch is tried, and how long an act waits for its event."""

    most_waiting: int = 20_000
    give_up_seconds: float = 300.0
    act_seconds: float = 5.0


@dataclass(frozen=True, slots=True)
class _Waiting:
    event: AuditEvent
    written: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class AuditWriter:
    """Takes events one by one and writes them together; `run` must run beside the server.

    What cannot be kept, because too much waits or the database is away for too long, is counted.
    """

    def __init__(self, write: Callable[[Sequence[AuditEvent]], Awaitable[None]], bounds: Bounds | None = None) -> None:
        self._write = write
        self._bounds = bounds or Bounds()
        self._waiting: list[_Waiting] = []
        self._arrived = asyncio.Event()
        self._urgent = asyncio.Event()
        self._stopping = False

    def note(self, event: AuditEvent) -> None:
        """Take an event that nobody waits for."""
        self._put(event)

    async def keep(self, event: AuditEvent) -> None:
        """Take an event, and wait until it is written.

        Raises:
            AuditUnavailable: it was not, in time; it may be yet.
        """
        written = self._put(event)
        self._urgent.set()
        try:
            async with asyncio.timeout(self._bounds.act_seconds):
                await asyncio.shield(written)
        except TimeoutError as error:
            raise AuditUnavailable("the audit log cannot be written") from error

    async def run(self) -> None:
        """Write for ever; when cancelled, write what waits, for 4 seconds at most."""
        writing = asyncio.create_task(self._write_until_stopped())
        try:
            await asyncio.shield(writing)
        finally:
            self._stopping = True
            self._arrived.set()
            self._urgent.set()
            await asyncio.wait({writing}, timeout=STOP_SECONDS)
            writing.cancel()
            self._lose(self._waiting, "stopped")

    def _put(self, event: AuditEvent) -> asyncio.Future[None]:
        waiting = _Waiting(event)
        # Whoever waits has left, as a rule, when it fails later.
        waiting.written.add_done_callback(_look)
        if len(self._waiting) >= self._bounds.most_waiting:
            self._lose([waiting], "full")
            return waiting.written
        self._waiting.append(waiting)
        self._arrived.set()
        if len(self._waiting) >= BATCH:
            self._urgent.set()
        return waiting.written

    async def _write_until_stopped(self) -> None:
        while self._waiting or not self._stopping:
            await self._arrived.wait()
            await self._collect()
            await self._write_batch(self._waiting[:BATCH])
            if not self._waiting and not self._stopping:
                self._arrived.clear()

    async def _collect(self) -> None:
        """Wait for more to write together, unless somebody waits or it is enough."""
        try:
            async with asyncio.timeout(FLUSH_SECONDS):
                await self._urgent.wait()
        except TimeoutError:
            pass
        if len(self._waiting) <= BATCH and not self._stopping:
            self._urgent.clear()

    async def _write_batch(self, batch: list[_Waiting]) -> None:
        """Write a batch; it is among what waits until it is written or given up."""
        began = time.monotonic()
        while batch:
            try:
                await self._write([waiting.event for waiting in batch])
            except Unavailable:
                if time.monotonic() - began < self._bounds.give_up_seconds:
                    await asyncio.sleep(RETRY_SECONDS)
                    continue
                self._lose(batch, "unavailable")
            except Exception as error:  # noqa: BLE001 - one event may not end the log; it is logged and counted
                log.warning("audit_refused", error=type(error).__name__)
                self._lose(batch, "refused")
            else:
                _settle(batch)
            break
        del self._waiting[: len(batch)]

    def _lose(self, lost: Sequence[_Waiting], why: str) -> None:
        if not lost:
            return
        AUDIT_LOST.inc(len(lost))
        log.error("audit_lost", events=len(lost), why=why, rpcs=sorted({waiting.event.rpc for waiting in lost}))
        for waiting in lost:
            if not waiting.written.done():
                waiting.written.set_exception(AuditUnavailable("the audit log cannot be written"))


def _settle(batch: Sequence[_Waiting]) -> None:
    for waiting in batch:
        if not waiting.written.done():
            waiting.written.set_result(None)


def _look(written: asyncio.Future[None]) -> None:
    """Take note of an error that nobody waits for, or asyncio complains of it."""
    if not written.cancelled():
        written.exception()
