"""Trains a cross-encoder from the files in a folder, and scores with it.

The folder has lesson.json, pairs.jsonl and scored.jsonl; there come reranker/ and scores.jsonl, and
progress.json meanwhile.
"""

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from sentence_transformers import CrossEncoder
from sentence_transformers.cross_encoder import CrossEncoderTrainer, CrossEncoderTrainingArguments
from sentence_transformers.cross_encoder.losses import BinaryCrossEntropyLoss
from transformers import TrainerCallback, set_seed

from services.common.cross_encoding import open_cross_encoder, scores_of
from services.common.models.precision import natural_dtype
from services.common.rerankers import SUFFIXES, TOKENS
from services.tune.domain.runs import Stage

EPOCHS = 2
BATCH = 32
LEARNING_RATE = 7e-5
# The head begins from nothing.
HEAD_LEARNING_RATE = 5e-4
_LAYER = re.compile(r"\.layers?\.(\d+)\.")
_FINITE = "the weights are no numbers any more"


def learn(folder: Path) -> None:
    """Train from pairs.jsonl, and write reranker/."""
    lesson = json.loads((folder / "lesson.json").read_bytes())
    if lesson["threads"]:
        torch.set_num_threads(lesson["threads"])
    # The head is drawn before the trainer is made.
    set_seed(lesson["seed"] % 2**31)
    model = CrossEncoder(
        lesson["base"],
        num_labels=1,
        max_length=TOKENS,
        model_kwargs={"dtype": torch.float32, "use_safetensors": True},
    )
    freeze(model)
    on_gpu = torch.cuda.is_available()
    arguments = CrossEncoderTrainingArguments(
        output_dir=str(folder / "checkpoints"),
        num_train_epochs=EPOCHS,
        per_device_train_batch_size=BATCH,
        learning_rate=LEARNING_RATE,
        learning_rate_mapping={r"classifier|score\.": HEAD_LEARNING_RATE},
        warmup_steps=0.1,
        lr_scheduler_type="linear",
        bf16=natural_dtype() is torch.bfloat16,
        use_cpu=not on_gpu,
        seed=lesson["seed"] % 2**31,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=on_gpu,
    )
    trainer = CrossEncoderTrainer(
        model=model,
        args=arguments,
        train_dataset=Dataset.from_list(list(_lines(folder / "pairs.jsonl"))),
        loss=BinaryCrossEntropyLoss(model),
        callbacks=[_Progress(folder)],
    )
    trainer.train()
    if not all(torch.isfinite(each).all() for each in model.parameters()):
        raise FloatingPointError(_FINITE)
    _save(model, folder / "reranker")


def freeze(model: Any) -> None:
    """Leave the embeddings and the lower half of the layers as they are: little data would only spoil them."""
    found = [int(match[1]) for name, _ in model.named_parameters() if (match := _LAYER.search(name))]
    half = (max(found, default=-1) + 1) // 2
    for name, parameter in model.named_parameters():
        layer = _LAYER.search(name)
        parameter.requires_grad = int(layer[1]) >= half if layer else "embeddings." not in name


def score(folder: Path) -> None:
    """Write the scores of what scored.jsonl asks for, as they would be served."""
    model = open_cross_encoder(folder / "reranker", TOKENS)
    asked = list(_lines(folder / "scored.jsonl"))
    with (folder / "scores.jsonl").open("w") as file:
        for number, each in enumerate(asked):
            found = scores_of(model, each["query"], each["texts"])
            if not all(map(math.isfinite, found)):
                raise FloatingPointError(_FINITE)
            file.write(json.dumps(found) + "\n")
            _tell(folder, Stage.SCORING, (number + 1) / len(asked))


def _save(model: Any, folder: Path) -> None:
    model.to(torch.bfloat16).save_pretrained(str(folder), create_model_card=False)
    for path in folder.iterdir():
        if path.suffix not in SUFFIXES:
            path.unlink()


class _Progress(TrainerCallback):  # type: ignore[misc]  # the library is untyped
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def on_step_end(self, _arguments: Any, state: Any, _control: Any, **_more: Any) -> None:
        """Tell how far training is."""
        _tell(self._folder, Stage.TRAINING, state.global_step / max(state.max_steps, 1))


def _tell(folder: Path, stage: Stage, progress: float) -> None:
    aside = folder / "progress.json.part"
    aside.write_text(json.dumps({"stage": stage.value, "progress": progress}))
    aside.replace(folder / "progress.json")


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        yield from map(json.loads, file)
