"""Keeps one unit running: starts it, watches it, clears up after it, and starts it again."""

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from services.cli import processes
from services.cli.backoff import Backoff
from services.cli.plan import Unit
from services.cli.spawner import Spawner
from services.cli.state import Phase, UnitState

GRACE_SECONDS = 15.0
PROBE_SECONDS = 0.1


class Keeper:
    """Runs one unit until it is told to stop; `changed` hears of every new state."""

    def __init__(self, unit: Unit, spawner: Spawner, changed: Callable[[], None], log: Any) -> None:
        self.unit = unit
        self.state = UnitState(unit.name, unit.address, unit.metrics_address, stop_signal=unit.command.stop_signal)
        # Deaths since it was last healthy.
        self.deaths = 0
        self._spawner = spawner
        self._changed = changed
        self._log = log.bind(unit=unit.name)
        self._backoff = Backoff()
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Make `run` end the unit, and return."""
        self._stopping.set()

    async def run(self) -> None:
        """Keep the unit running until `stop`; leaves no process of it."""
        try:
            while not self._stopping.is_set():
                await self._pause(await self._live_once())
        finally:
            self._set(phase=Phase.STOPPED, process=None)

    async def _live_once(self) -> float:
        """Run the unit once, to its death, and return how many seconds it lived."""
        started = time.monotonic()
        try:
            process = await self._spawner.start(self.unit.command)
        except OSError as error:
            self._died(str(error))
            return 0.0
        try:
            self._set(phase=Phase.STARTING, process=processes.identify(process.pid))
            self._log.info("unit_started", pid=process.pid)
            code = await self._until_dead(process)
        finally:
            # What it started may outlive it, and hold its ports.
            processes.kill(self._spawner.left_of(self.unit.command))
        self._died(_describe(code))
        return time.monotonic() - started

    async def _until_dead(self, process: asyncio.subprocess.Process) -> int:
        beside = (asyncio.create_task(self._watch_health()), asyncio.create_task(self._end_when_told(process)))
        try:
            return await process.wait()
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)

    async def _watch_health(self) -> None:
        while not await self.unit.probe():  # noqa: ASYNC110 - another process cannot set an event
            await asyncio.sleep(PROBE_SECONDS)
        self.deaths = 0
        self._set(phase=Phase.HEALTHY)
        self._log.info("unit_healthy")

    async def _end_when_told(self, process: asyncio.subprocess.Process) -> None:
        await self._stopping.wait()
        self._set(phase=Phase.STOPPING)
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(self.unit.command.stop_signal)
            await asyncio.sleep(GRACE_SECONDS)
            self._log.warning("unit_killed", grace_seconds=GRACE_SECONDS)
            process.kill()

    def _died(self, how: str) -> None:
        if self._stopping.is_set():
            return
        self.deaths += 1
        self._set(phase=Phase.RESTARTING, process=None, restarts=self.state.restarts + 1, last_exit=how)
        self._log.warning("unit_died", how=how)

    async def _pause(self, lived_seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._backoff.next_pause(lived_seconds)):
                await self._stopping.wait()

    def _set(self, **changes: Any) -> None:
        self.state = replace(self.state, **changes)
        self._changed()


def _describe(code: int) -> str:
    return f"exited with {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"
