"""Runs a plan: starts its units in order, keeps them running, and stops them in reverse order."""

import asyncio
import json
import os
from collections.abc import Coroutine, Iterable
from pathlib import Path
from typing import Any

from services.cli import processes
from services.cli.errors import Failure
from services.cli.home import SUPERVISOR, Credentials, Home
from services.cli.keeper import Keeper
from services.cli.plan import TENANT, Plan, Unit
from services.cli.spawner import Spawner
from services.cli.state import Phase, PlatformState

POLL_SECONDS = 0.05
ROTATE_SECONDS = 60.0
DEATHS_AT_START = 5
LOG_TAIL_LINES = 5


class UnitDoesNotStart(Failure):
    """A unit dies again and again before it is healthy, or takes too long."""

    reason = "UNIT_DOES_NOT_START"


class Supervisor:
    """Owns the processes of one home while `run` lasts."""

    def __init__(self, plan: Plan, home: Home, spawner: Spawner, log: Any) -> None:
        self.ready = asyncio.Event()
        self._plan = plan
        self._home = home
        self._spawner = spawner
        self._log = log
        self._phase = Phase.STARTING
        self._process = processes.identify(os.getpid())
        self._keepers = {unit.name: Keeper(unit, spawner, self._changed, log) for unit in plan.units}
        self._running: dict[str, asyncio.Task[None]] = {}

    def state(self) -> PlatformState:
        """Return how the platform is."""
        supervisor = None if self._phase is Phase.STOPPED else self._process
        units = tuple(keeper.state for keeper in self._keepers.values())
        return PlatformState(self._phase, self._plan.front.address, supervisor, units, self._plan.tls)

    async def run(self, stop: asyncio.Event, start_seconds: float) -> None:
        """Start everything, keep it running until `stop` is set, and stop it.

        Raises:
            UnitDoesNotStart: something is not healthy in time; everything has been stopped.
        """
        failed: Failure | None = None
        async with asyncio.TaskGroup() as group:
            rotating = group.create_task(self._rotate_logs())
            try:
                await _unless(stop, self._start(group, start_seconds))
                await stop.wait()
            except Failure as failure:
                failed = failure
            finally:
                rotating.cancel()
                await self._stop()
        if failed is not None:
            raise failed

    async def _rotate_logs(self) -> None:
        while True:
            for name in (SUPERVISOR, *self._keepers):
                try:
                    await asyncio.to_thread(self._home.rotate_log, name)
                except OSError as error:
                    # A full disk must not stop what runs.
                    self._log.warning("log_not_rotated", unit=name, detail=str(error))
            await asyncio.sleep(ROTATE_SECONDS)

    async def _start(self, group: asyncio.TaskGroup, seconds: float) -> None:
        self._enter(Phase.STARTING)
        try:
            async with asyncio.timeout(seconds):
                await self._start_units(group, self._plan.parts)
                await self._start_units(group, (*self._plan.services, self._plan.front))
        except TimeoutError:
            raise self._too_slow(seconds) from None
        await asyncio.to_thread(self._make_first_key)
        self._enter(Phase.HEALTHY)
        self.ready.set()

    async def _start_units(self, group: asyncio.TaskGroup, units: Iterable[Unit]) -> None:
        """Start units together, and return when all are healthy."""
        keepers = [self._keepers[unit.name] for unit in units]
        for keeper in keepers:
            self._running[keeper.unit.name] = group.create_task(keeper.run())
        while any(keeper.state.phase is not Phase.HEALTHY for keeper in keepers):
            for keeper in keepers:
                if keeper.deaths >= DEATHS_AT_START:
                    raise self._hopeless(keeper)
            await asyncio.sleep(POLL_SECONDS)

    async def _stop(self) -> None:
        self._enter(Phase.STOPPING)
        for units in ((self._plan.front,), self._plan.services, self._plan.parts):
            names = [unit.name for unit in units if unit.name in self._running]
            for name in names:
                self._keepers[name].stop()
            await asyncio.gather(*(self._running[name] for name in names), return_exceptions=True)
        # The making of the first key may have been interrupted.
        processes.kill(processes.marked(self._home.root))
        self._enter(Phase.STOPPED)

    def _make_first_key(self) -> None:
        if self._home.credentials() is None:
            key = json.loads(self._spawner.run(self._plan.bootstrap).splitlines()[-1])
            self._home.keep_credentials(Credentials(TENANT, key["key_id"], key["secret"]))

    def _too_slow(self, seconds: float) -> UnitDoesNotStart:
        waiting = [name for name, keeper in self._keepers.items() if keeper.state.phase is not Phase.HEALTHY]
        logs = ", ".join(str(self._home.log_of(name)) for name in waiting if name in self._running)
        return UnitDoesNotStart(
            f"not healthy after {seconds:.0f} seconds: {', '.join(waiting)} (logs: {logs})", units=waiting
        )

    def _hopeless(self, keeper: Keeper) -> UnitDoesNotStart:
        name, log = keeper.unit.name, self._home.log_of(keeper.unit.name)
        return UnitDoesNotStart(
            f"{name} does not start ({keeper.deaths} times: {keeper.state.last_exit}); {log} ends:\n{_tail(log)}",
            units=[name],
        )

    def _enter(self, phase: Phase) -> None:
        self._phase = phase
        self._log.info("platform_" + phase.value)
        self._changed()

    def _changed(self) -> None:
        self._home.keep_state(self.state())


async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> None:
    """Do `work`, or as much of it as there is time for until `stop` is set."""
    working, stopping = asyncio.create_task(work), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
    finally:
        for task in (working, stopping):
            task.cancel()
        await asyncio.gather(working, stopping, return_exceptions=True)


def _tail(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return "\n".join(lines[-LOG_TAIL_LINES:])
