"""GRPO: learning from rewards of own answers. It is apart, for TRL loads an engine with it where there is one."""

from collections.abc import Mapping, Sequence
from typing import Any

from trl import GRPOConfig, GRPOTrainer

from services.tune.domain.hyperparameters import Method
from services.tune.training.rewards import Reward
from services.tune.training.rows import Example
from services.tune.training.trainers import SCHEDULES, Course, Resumed, Taught, made


class _Grpo(Resumed, GRPOTrainer):  # type: ignore[misc]
    examples: Sequence[Example] = ()

    def _tokenize_prompts(self, prompts: list[str]) -> tuple[list[list[int]], None, dict[str, Any]]:
        """Return the tokens of the prompts, which are named by their numbers."""
        return [self.examples[int(prompt)].prompt_ids for prompt in prompts], None, {}


def grpo(taught: Taught, course: Course, examples: Sequence[Example], rewards: Mapping[Reward, float]) -> Any:
    """Return what learns from rewards of its own answers, beside each other's (Shao et al. 2024)."""
    numbers = taught.numbers
    # A prompt is a row; what is trained on are the completions of it.
    completions = len(taught.dataset) * numbers.generations
    arguments = GRPOConfig(
        **course.arguments(numbers, SCHEDULES[Method.GRPO], completions, numbers.generations),
        shuffle_dataset=False,
        beta=numbers.beta,
        num_generations=numbers.generations,
        max_completion_length=numbers.answer_tokens,
        temperature=numbers.temperature,
        reward_weights=list(rewards.values()),
        log_completions=False,
    )
    trainer = made(_Grpo, taught, course, arguments, reward_funcs=list(rewards))
    trainer.examples = examples
    return trainer
