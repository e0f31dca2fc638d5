"""TRL's trainers, given tokens instead of texts: what they learn from is what the engine will see."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import set_peft_model_state_dict
from safetensors.torch import load_file
from transformers import TrainerCallback
from trl import (
    DPOConfig,
    DPOTrainer,
    KTOConfig,
    KTOTrainer,
    RewardConfig,
    RewardTrainer,
    SFTConfig,
    SFTTrainer,
)

from services.common.lora.store import WEIGHTS
from services.common.models.precision import natural_dtype
from services.tune.domain.hyperparameters import Hyperparameters, Method
from services.tune.training.machine import SEEDS, has_gpu
from services.tune.training.models import ADAPTER

CHECKPOINTS = 20
MOST_STEPS_A_CHECKPOINT = 50
SCHEDULES = {Method.SFT: "cosine", Method.DPO: "linear", Method.KTO: "cosine", Method.GRPO: "constant"}


class Resumed:
    """Takes the learning adapter alone from a checkpoint; the one to compare with is as it was at the beginning."""

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        weights = load_file(Path(resume_from_checkpoint) / WEIGHTS)
        set_peft_model_state_dict(model or self.model, weights, adapter_name=ADAPTER)  # type: ignore[attr-defined]


class _Sft(Resumed, SFTTrainer):  # type: ignore[misc]  # the library is untyped
    pass


class _Reward(Resumed, RewardTrainer):  # type: ignore[misc]
    pass


class _Dpo(Resumed, DPOTrainer):  # type: ignore[misc]
    def _prepare_dataset(self, dataset: Dataset, *_: Any, **__: Any) -> Dataset:
        """Return the tokens as they are."""
        return dataset


class _Kto(Resumed, KTOTrainer):  # type: ignore[misc]
    def _prepare_dataset(self, dataset: Dataset, _processing: Any, args: Any, *_: Any, **__: Any) -> Dataset:
        """Return the tokens with, for each question of a batch, the answer to another (Ethayarajh et al. 2024, 4.1)."""

        def turned(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
            answers = batch["completion_ids"]
            return {**batch, "KL_completion_ids": [answers[-1], *answers[:-1]]}

        return dataset.map(turned, batched=True, batch_size=args.per_device_train_batch_size)


@dataclass(frozen=True, slots=True)
class Course:
    """How a training goes, whatever is learnt in it: where, from which seed, on how many devices."""

    folder: Path
    seed: int
    devices: int
    checkpoint_steps: int
    checkpointing: bool
    callbacks: Sequence[TrainerCallback]

    def arguments(self, numbers: Hyperparameters, schedule: str, rows: int, group: int = 1) -> dict[str, Any]:
        """Return what all trainers are told; a step has whole groups of so many rows."""
        at_once = numbers.micro_batch * self.devices
        accumulated = max(1, round(numbers.batch_size / at_once))
        while at_once * accumulated % group:
            accumulated += 1
        steps = numbers.max_steps or max(1, -(-rows // (at_once * accumulated)))
        on_gpu = has_gpu()
        return {
            "output_dir": str(self.folder),
            "seed": self.seed % SEEDS,
            "per_device_train_batch_size": numbers.micro_batch,
            "gradient_accumulation_steps": accumulated,
            "learning_rate": numbers.learning_rate,
            "lr_scheduler_type": schedule,
            "warmup_steps": round(numbers.warmup_ratio * steps),
            # The rows are those of all epochs.
            "num_train_epochs": 1,
            "max_steps": numbers.max_steps or -1,
            "save_steps": self.checkpoint_steps or min(MOST_STEPS_A_CHECKPOINT, max(1, steps // CHECKPOINTS)),
            "save_strategy": "steps",
            "save_total_limit": 2,
            "logging_steps": 1,
            "logging_nan_inf_filter": False,
            "gradient_checkpointing": self.checkpointing,
            "bf16": torch.cuda.is_bf16_supported() if on_gpu else natural_dtype() is torch.bfloat16,
            "use_cpu": not on_gpu,
            "ddp_backend": "gloo" if self.devices > 1 and not on_gpu else None,
            "ddp_find_unused_parameters": False,
            "dataloader_pin_memory": on_gpu,
            "report_to": "none",
            "disable_tqdm": True,
        }


@dataclass(frozen=True, slots=True)
class Taught:
    """What learns, and from what: a model with its adapter, and tokens in their order."""

    model: Any
    tokenizer: Any
    dataset: Dataset
    numbers: Hyperparameters


def sft(taught: Taught, course: Course) -> Any:
    """Return what learns to give the answers of a data set (Ouyang et al. 2022), from their tokens alone."""
    arguments = SFTConfig(
        **course.arguments(taught.numbers, SCHEDULES[Method.SFT], len(taught.dataset)),
        train_sampling_strategy="sequential",
        max_length=None,
        dataset_kwargs={"skip_prepare_dataset": True},
    )
    return made(_Sft, taught, course, arguments)


def dpo(taught: Taught, course: Course) -> Any:
    """Return what learns to prefer one answer to another (Rafailov et al. 2023), beside what it begins as."""
    arguments = DPOConfig(
        **course.arguments(taught.numbers, SCHEDULES[Method.DPO], len(taught.dataset)),
        train_sampling_strategy="sequential",
        max_length=None,
        beta=taught.numbers.beta,
    )
    return made(_Dpo, taught, course, arguments)


def kto(taught: Taught, course: Course) -> Any:
    """Return what learns from answers found good or bad, each by itself (Ethayarajh et al. 2024)."""
    desirable, undesirable = kto_weights(taught.numbers, taught.dataset["label"])
    arguments = KTOConfig(
        **course.arguments(taught.numbers, SCHEDULES[Method.KTO], len(taught.dataset)),
        max_length=None,
        beta=taught.numbers.beta,
        desirable_weight=desirable,
        undesirable_weight=undesirable,
    )
    return made(_Kto, taught, course, arguments)


def kto_weights(numbers: Hyperparameters, labels: Sequence[bool]) -> tuple[float, float]:
    """Return the weights of good and bad answers: those asked for, or such that both kinds weigh the same.

    The rarer kind gets the weight: of the bounds of the paper's equation 8, 1 to 4/3, it is the lower.
    """
    good = sum(labels)
    bad = len(labels) - good
    desirable = numbers.desirable_weight or max(1.0, bad / max(good, 1))
    return desirable, numbers.undesirable_weight or max(1.0, good / max(bad, 1))


def reward(taught: Taught, course: Course) -> Any:
    """Return what learns to score the preferred of two answers higher (Bradley and Terry, 1952)."""
    arguments = RewardConfig(
        **course.arguments(taught.numbers, SCHEDULES[Method.DPO], len(taught.dataset)),
        train_sampling_strategy="sequential",
        max_length=None,
    )
    return made(_Reward, taught, course, arguments)


def made(kind: Callable[..., Any], taught: Taught, course: Course, arguments: Any, **more: Any) -> Any:
    """Return a trainer of a kind."""
    return kind(
        model=taught.model,
        args=arguments,
        train_dataset=taught.dataset,
        processing_class=taught.tokenizer,
        callbacks=list(course.callbacks),
        **more,
    )
