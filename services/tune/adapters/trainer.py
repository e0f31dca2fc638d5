"""Trains in a process of its own, that can be killed at any moment."""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import orjson

from services.tune.domain.errors import TrainingFailed
from services.tune.domain.runs import Stage
from services.tune.ports import Learnt, Lesson

POLL_SECONDS = 0.5
Tell = Callable[[str, float], Awaitable[None]]


class ProcessTrainer:
    """A Trainer that starts `python -m services.tune.train`; `bases` says where each base lies."""

    def __init__(self, bases: Mapping[str, str], threads: int) -> None:
        self._bases = bases
        self._threads = threads

    async def train(self, lesson: Lesson, folder: Path, told: Tell) -> Learnt:
        await asyncio.to_thread(self._write, lesson, folder)
        with (folder / "log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "services.tune.train", str(folder)),
                env={**os.environ, "TOKENIZERS_PARALLELISM": "false"},
                stdin=asyncio.subprocess.PIPE,
                stdout=log,
                stderr=log,
            )
        try:
            await told(Stage.TRAINING, 0.0)
            while process.returncode is None:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(process.wait(), POLL_SECONDS)
                await told(*_progress(folder))
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            raise TrainingFailed(f"the process that trains ended without a reranker: {_failure(folder)}")
        return Learnt(folder / "reranker", await asyncio.to_thread(_scores, folder))

    def _write(self, lesson: Lesson, folder: Path) -> None:
        own = {"base": self._bases[lesson.base], "seed": lesson.seed, "threads": self._threads}
        (folder / "lesson.json").write_bytes(orjson.dumps(own))
        pairs = ({"query": each.query, "text": each.text, "label": float(each.answers)} for each in lesson.pairs)
        _write_lines(folder / "pairs.jsonl", pairs)
        _write_lines(folder / "scored.jsonl", ({"query": query, "texts": texts} for query, texts in lesson.scored))


def _write_lines(path: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    with path.open("wb") as file:
        file.writelines(orjson.dumps(line) + b"\n" for line in lines)


def _progress(folder: Path) -> tuple[str, float]:
    try:
        found = json.loads((folder / "progress.json").read_bytes())
    except FileNotFoundError:
        return Stage.TRAINING, 0.0
    return str(found["stage"]), float(found["progress"])


def _failure(folder: Path) -> str:
    try:
        return str(json.loads((folder / "failure.json").read_bytes()))
    except FileNotFoundError:
        return "it was killed"


def _scores(folder: Path) -> list[list[float]]:
    with (folder / "scores.jsonl").open("rb") as file:
        return [orjson.loads(line) for line in file]
