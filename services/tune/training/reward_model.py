"""A model of what people prefer, learnt from pairs of answers in the same run."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import PeftModel, get_peft_model
from transformers import AutoModelForSequenceClassification

from services.common.models.precision import natural_dtype
from services.tune.domain.hyperparameters import Hyperparameters, Method, defaults
from services.tune.training.checkpoints import last_checkpoint
from services.tune.training.encoding import Encoder
from services.tune.training.machine import device, draw_from
from services.tune.training.models import lora_of
from services.tune.training.rewards import Reward
from services.tune.training.rows import Example, order_of
from services.tune.training.trainers import Course, Taught, reward

HELD_OUT = 5  # one pair of so many tells how well the rest was learnt
LEARNING_RATE = 1e-4
MADE = "made"


def learnt(base: Path, encoder: Encoder, pairs: Dataset, numbers: Hyperparameters, course: Course) -> tuple[Any, float]:
    """Return a model that scores answers, and the share of the pairs held out that it puts right.

    What was learnt before a process was killed is not learnt again.
    """
    made = course.folder / MADE
    if not made.is_dir():
        shares = [float(number % HELD_OUT != 0) for number in range(len(pairs))]
        taught = pairs.select(order_of(shares, 1, course.seed))
        _learn(_opened(base, encoder, course.seed), encoder, taught, numbers, course)
    model = PeftModel.from_pretrained(_opened(base, encoder, course.seed), made).to(device()).eval()
    return model, _accuracy(model, pairs.select(range(0, len(pairs), HELD_OUT)))


def numbers_of(asked: Hyperparameters, parameters: int, pairs: int) -> Hyperparameters:
    """Return what a reward model is trained with: one epoch, for with more it learns its pairs by heart."""
    found = defaults(Method.SFT, parameters, pairs)
    batch = min(found.batch_size, asked.batch_size)
    return replace(
        found,
        rank=asked.rank,
        alpha=asked.alpha,
        epochs=1,
        learning_rate=LEARNING_RATE,
        batch_size=batch,
        micro_batch=min(asked.micro_batch, batch, found.micro_batch),
    )


def liking(model: Any, encoder: Encoder, examples: Sequence[Example]) -> Reward:
    """Return what scores answers by a reward model, 0 to 1."""

    def liked(prompts: Sequence[str], completions: Sequence[str], **_: Any) -> list[float | None]:
        pairs = zip(prompts, completions, strict=True)
        return [
            score(model, examples[int(prompt)].prompt_ids + encoder.answer(completion)) for prompt, completion in pairs
        ]

    return liked


def score(model: Any, tokens: Sequence[int]) -> float:
    """Return how much people would like what these tokens say, 0 to 1."""
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([list(tokens)], device=model.device)).logits
    return float(torch.sigmoid(logits.float()[0, 0]))


def _opened(base: Path, encoder: Encoder, seed: int) -> Any:
    # The head is drawn here.
    draw_from(seed)
    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=1, dtype=natural_dtype())  # nosec B615
    model.config.pad_token_id = encoder.tokenizer.pad_token_id
    return model


def _learn(base: Any, encoder: Encoder, pairs: Dataset, numbers: Hyperparameters, course: Course) -> None:
    model = get_peft_model(base, lora_of(numbers, "SEQ_CLS"))
    trainer = reward(Taught(model, encoder.tokenizer, pairs, numbers), course)
    trainer.train(resume_from_checkpoint=last_checkpoint(course.folder))
    if trainer.is_world_process_zero():
        aside = course.folder / f"{MADE}.part"
        trainer.accelerator.unwrap_model(trainer.model).save_pretrained(aside)
        aside.rename(course.folder / MADE)
    trainer.accelerator.wait_for_everyone()


def _accuracy(model: Any, pairs: Dataset) -> float:
    right = [score(model, pair["chosen_ids"]) > score(model, pair["rejected_ids"]) for pair in pairs]
    return sum(right) / len(right)
