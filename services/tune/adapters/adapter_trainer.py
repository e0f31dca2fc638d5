"""Trains adapters in a process of its own, or in several that a launcher starts."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import structlog

from services.common.errors import ServiceError
from services.tune.datasets.errors import DatasetAltered
from services.tune.domain.adapter_runs import Step
from services.tune.domain.errors import InsufficientMemory, ParentNotFit, TooLittleData, TrainingFailed
from services.tune.domain.runs import Stage
from services.tune.ports import Teller
from services.tune.training.spec import Layout

POLL_SECONDS = 0.5
# A process that was killed is begun again from its last checkpoint, so often in all.
LAUNCHES = 3
_KNOWN = {error.reason: error for error in (TooLittleData, InsufficientMemory, ParentNotFit, DatasetAltered)}
_KILLED = 128 + signal.SIGKILL
# Tensors of hundreds of megabytes come and go with each step: given back to the system each time, half of the
# time on a CPU would go into getting them again. glibc reads these as a process starts.
_KEEP_BYTES = str(1 << 33)
_ENVIRONMENT = {
    "MALLOC_MMAP_THRESHOLD_": _KEEP_BYTES,
    "MALLOC_TRIM_THRESHOLD_": _KEEP_BYTES,
    # Threads that wait for one that others' work keeps from the core leave theirs to it.
    "OMP_WAIT_POLICY": "PASSIVE",
    "TOKENIZERS_PARALLELISM": "false",
}

log = structlog.get_logger()


class ProcessAdapterTrainer:
    """An AdapterTrainer that starts `COMMAND -m services.tune.training FOLDER`."""

    def __init__(self, command: Sequence[str] = ()) -> None:
        """`command` launches a module, such as ["torchrun", "--nproc-per-node=4"]; empty is this interpreter."""
        self._command = tuple(command) or (sys.executable,)

    async def train(self, folder: Path, told: Teller) -> Path:
        layout = Layout(folder)
        for _ in range(LAUNCHES):
            code = await self._run(layout, told)
            if layout.adapter.is_dir():
                return layout.adapter
            if not _was_killed(code, layout):
                break
            log.warning("training_was_killed", run_id=folder.name, code=code)
        raise _failure(layout, code)

    async def _run(self, layout: Layout, told: Teller) -> int:
        """Run the process until it ends, and return its code."""
        with (layout.folder / "log").open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *(*self._command, "-m", "services.tune.training", str(layout.folder), "--with-parent"),
                env={**_ENVIRONMENT, **os.environ},
                stdin=asyncio.subprocess.PIPE,
                stdout=output,
                stderr=output,
                # A launcher's processes end with it.
                start_new_session=True,
            )
        try:
            while process.returncode is None:
                await told.advance(*_progress(layout))
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(process.wait(), POLL_SECONDS)
        finally:
            await _end(process)
        await told.advance(*_progress(layout))
        return process.returncode


async def _end(process: Process) -> None:
    """End a process with all that it has started; what listens to its input ends by itself."""
    if process.stdin:
        process.stdin.close()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


def _was_killed(code: int, layout: Layout) -> bool:
    """Return whether somebody else ended the process: it has left no word of what is wrong."""
    return code != 0 and not layout.failure.exists() and (code < 0 or code == _KILLED or layout.checkpoints.is_dir())


def _progress(layout: Layout) -> tuple[str, Step]:
    found = _read(layout.progress)
    if not found:
        return Stage.TRAINING, Step()
    return str(found["stage"]), Step(found["step"], found["steps"], found["loss"], found["eta_seconds"])


def _failure(layout: Layout, code: int) -> ServiceError:
    """Return why there is no adapter."""
    told = _read(layout.failure)
    known = _KNOWN.get(told.get("reason", ""))
    if known:
        return known(told["message"], **told["facts"])
    said = told.get("message") or f"it was killed ({code}), which happens where memory is short"
    return TrainingFailed(f"the process that trains ended without an adapter: {said}")


def _read(path: Path) -> Mapping[str, Any]:
    try:
        found: Mapping[str, Any] = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    return found
