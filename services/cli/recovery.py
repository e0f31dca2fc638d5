"""Ends what is left of a platform whose supervisor was killed, or is told to stop from outside."""

import signal
from dataclasses import replace

import psutil

from services.cli import processes
from services.cli.home import Home
from services.cli.state import Phase, PlatformState

GRACE_SECONDS = 10.0
# The supervisor itself gives each of its units 15 seconds.
SUPERVISOR_SECONDS = 60.0


def stop_supervisor(home: Home) -> bool:
    """Stop the platform by its supervisor; tell whether there was one."""
    state = home.state()
    supervisor = processes.find(state.supervisor) if state else None
    if supervisor is None:
        return False
    processes.stop({supervisor: signal.SIGTERM}, SUPERVISOR_SECONDS)
    return True


def recover(home: Home) -> int:
    """Stop every process that a dead supervisor has left; returns how many there were.

    The caller holds the home's lock, so no supervisor lives.
    """
    state = home.state()
    mains = _mains(state)
    left = {process for main in mains for process in processes.family(main)} | set(processes.marked(home.root))
    processes.stop(mains, GRACE_SECONDS)
    processes.kill(left)
    if state is not None:
        home.keep_state(_stopped(state))
    return len(left)


def _mains(state: PlatformState | None) -> dict[psutil.Process, int]:
    """Return the units' own processes that still live, and the signal that stops each."""
    found = {processes.find(unit.process): unit.stop_signal for unit in state.units} if state else {}
    return {process: stop_signal for process, stop_signal in found.items() if process is not None}


def _stopped(state: PlatformState) -> PlatformState:
    units = tuple(replace(unit, phase=Phase.STOPPED, process=None) for unit in state.units)
    return replace(state, phase=Phase.STOPPED, supervisor=None, units=units)
