"""Says how far training is, and when a checkpoint is whole."""

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from services.tune.training.checkpoints import WHOLE


class Progress(TrainerCallback):  # type: ignore[misc]  # the library is untyped
    """Writes each step, with the loss and the seconds that are left, to a file that is always whole."""

    def __init__(self, path: Path, stage: str, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds."""
        self._path = path
        self._stage = stage
        self._clock = clock
        self._began, self._first, self._loss = clock(), 0, 0.0

    def on_train_begin(self, _arguments: Any, state: Any, _control: Any, **_more: Any) -> None:
        """Remember where training began, or was taken up again."""
        self._began, self._first = self._clock(), state.global_step
        self._tell(state)

    def on_log(
        self, _arguments: Any, state: Any, _control: Any, logs: dict[str, Any] | None = None, **_more: Any
    ) -> None:
        """Take the loss, and tell."""
        loss = (logs or {}).get("loss")
        if loss is None:
            return
        self._loss = float(loss)
        if not math.isfinite(self._loss):
            raise FloatingPointError("the loss is no number any more")
        self._tell(state)

    def on_save(self, arguments: Any, state: Any, _control: Any, **_more: Any) -> None:
        """Mark the checkpoint as whole: a process that is killed may leave one that is not."""
        if state.is_world_process_zero:
            (Path(arguments.output_dir) / f"checkpoint-{state.global_step}" / WHOLE).touch()

    def _tell(self, state: Any) -> None:
        if not state.is_world_process_zero:
            return
        done = state.global_step - self._first
        left = state.max_steps - state.global_step
        told = {
            "stage": self._stage,
            "step": state.global_step,
            "steps": state.max_steps,
            "loss": self._loss,
            "eta_seconds": (self._clock() - self._began) / done * left if done else 0.0,
        }
        aside = self._path.with_name(f"{self._path.name}.part")
        aside.write_text(json.dumps(told))
        aside.replace(self._path)
