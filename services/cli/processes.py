"""Finds the processes that a platform started, whatever became of their parents, and ends them."""

import contextlib
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import psutil

from services.cli.state import ProcessId

# Every process of a unit inherits this variable, so that it is known even once its parent is gone.
MARK = "TANDEM_SUPERVISED_UNIT"
CLOCK_DRIFT_SECONDS = 2.0
KILL_SECONDS = 5.0
POLL_SECONDS = 0.02


def mark_of(home: Path, unit: str) -> str:
    """Return the value of MARK in a unit's processes."""
    return f"{home}#{unit}"


def identify(pid: int) -> ProcessId | None:
    """Return what tells the process `pid` from any later one; None when it has already gone."""
    try:
        return ProcessId(pid, psutil.Process(pid).create_time())
    except psutil.Error:
        return None


def find(process_id: ProcessId | None) -> psutil.Process | None:
    """Return the process, or None when it is gone: its number may be a stranger's by now."""
    if process_id is None:
        return None
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(process_id.pid)
        if abs(process.create_time() - process_id.created_at) < CLOCK_DRIFT_SECONDS and is_alive(process):
            return process
    return None


def is_alive(process: psutil.Process) -> bool:
    """Tell whether the process runs; a zombie does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def family(process: psutil.Process) -> list[psutil.Process]:
    """Return the process and all its descendants."""
    try:
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return [process]


def marked(home: Path, unit: str = "") -> list[psutil.Process]:
    """Return every living process of a unit of `home`, or of all its units."""
    mark = mark_of(home, unit)
    return [process for process in psutil.process_iter() if _has_mark(process, mark, exact=bool(unit))]


def _has_mark(process: psutil.Process, mark: str, *, exact: bool) -> bool:
    if process.pid == os.getpid():
        return False
    try:
        found = process.environ().get(MARK, "")
    except (psutil.Error, OSError):
        return False
    return found == mark if exact else found.startswith(mark)


def stop(signals: Mapping[psutil.Process, int], grace_seconds: float) -> None:
    """Ask processes to end, each by its signal, and kill those that have not after the grace."""
    for process, stop_signal in signals.items():
        with contextlib.suppress(psutil.Error):
            process.send_signal(stop_signal)
    kill(_living_after(signals, grace_seconds))


def kill(processes: Iterable[psutil.Process]) -> None:
    """Kill `processes`, and wait until they are gone."""
    killed = list(processes)
    for process in killed:
        with contextlib.suppress(psutil.Error):
            process.kill()
    _living_after(killed, KILL_SECONDS)


def _living_after(processes: Iterable[psutil.Process], seconds: float) -> list[psutil.Process]:
    deadline = time.monotonic() + seconds
    while (living := list(filter(is_alive, processes))) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    return living
