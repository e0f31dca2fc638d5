"""Builds in a process of its own, that can be killed at any moment."""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from services.common.errors import ServiceError
from services.tune.datasets.errors import BuildFailed, DatasetEmpty
from services.tune.datasets.files import DATASET, FAILURE, PROGRESS

POLL_SECONDS = 0.5
CLEANING = "cleaning"
_KNOWN = {each.reason: each for each in (DatasetEmpty,)}
Tell = Callable[[str, float], Awaitable[None]]


async def build_in_process(folder: Path, told: Tell) -> Path:
    """Build what `folder` says, and return where the data set's files are; `told` hears how far it is.

    Raises:
        DatasetEmpty: nothing was left to build.
        BuildFailed: the process ended without a data set.
    """
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "services.tune.build_dataset", str(folder)),
            # What is asked of people's texts stays here: no library is to call home.
            env={**os.environ, "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"},
            stdin=asyncio.subprocess.PIPE,
            stdout=log,
            stderr=log,
        )
    try:
        while process.returncode is None:
            await told(CLEANING, _progress(folder))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), POLL_SECONDS)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise _failure(folder)
    return folder / DATASET


def _progress(folder: Path) -> float:
    try:
        return float(json.loads((folder / PROGRESS).read_bytes()))
    except FileNotFoundError:
        return 0.0


def _failure(folder: Path) -> ServiceError:
    try:
        found = json.loads((folder / FAILURE).read_bytes())
    except FileNotFoundError:
        return BuildFailed("the process that builds was killed")
    known = _KNOWN.get(found["reason"])
    return known(found["message"]) if known else BuildFailed(f"the process that builds failed: {found['message']}")
