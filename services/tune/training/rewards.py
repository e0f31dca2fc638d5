"""What GRPO rewards: what can be checked of an answer, and what people prefer."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from services.common.analysis import STEMMERS, language_of
from services.common.evaluation.answers import f1
from services.common.grounding.abstention import says_nothing
from services.common.grounding.citations import Given, check
from services.common.grounding.sentences import without_markers
from services.tune.training.rows import Example

# Takes the prompts' numbers and the completions; returns one value each, None where it has no say.
Reward = Callable[..., list[float | None]]
Rule = Callable[[Example, str], float | None]

_MARKER = re.compile(r"\[(\d{1,4})\]")
UNCERTAIN = 0.5


def cites(example: Example, answer: str) -> float | None:
    """Return 1 where an answer names passages and only those that it was given; where there is no answer, none."""
    numbers = {int(number) - 1 for number in _MARKER.findall(answer)}
    if not example.row["answerable"]:
        return float(not numbers)
    return float(bool(numbers) and numbers <= set(example.passages))


def is_grounded(example: Example, answer: str) -> float | None:
    """Return the share of the sentences that stand in the passages that were shown; no say where there is no answer."""
    if not example.row["answerable"]:
        return None
    passages = [example.row["passages"][index] for index in example.passages]
    given = [Given(passage["text"], passage["title"]) for passage in passages]
    verdicts = check(answer, given, example.row["question"])
    return sum(each.reason is None for each in verdicts) / len(verdicts) if verdicts else 0.0


def tells_what_it_knows(example: Example, answer: str) -> float | None:
    """Return 1 where an answer says that the passages do not tell if and only if they do not."""
    return float(says_nothing(answer) != bool(example.row["answerable"]))


def in_its_language(example: Example, answer: str) -> float | None:
    """Return 1 for an answer in the language that is asked for, and a half where that cannot be told."""
    wanted = example.row["language"]
    if not wanted:
        return None
    found = language_of(without_markers(answer), tuple(STEMMERS))
    return float(found == wanted) if found else UNCERTAIN


def is_right(example: Example, answer: str) -> float | None:
    """Return the F1 of the words with the nearest of the right answers; no say where none is known."""
    given = without_markers(answer)
    return max((f1(given, right, example.row["language"]) for right in example.row["answers"]), default=None)


# What a rule counts; docs/tuning.md has the same table.
RULES: Mapping[Rule, float] = {
    is_right: 2.0,
    is_grounded: 1.0,
    tells_what_it_knows: 1.0,
    cites: 0.5,
    in_its_language: 0.25,
}
LIKED = 1.0


def rewards_of(examples: Sequence[Example], liked: Reward | None, liked_weight: float) -> dict[Reward, float]:
    """Return the rules' rewards with their weights, and what people prefer with its own."""
    found: dict[Reward, float] = {_applied(rule, examples): weight for rule, weight in RULES.items()}
    return found | ({liked: liked_weight} if liked else {})


def _applied(rule: Rule, examples: Sequence[Example]) -> Reward:
    def reward(prompts: Sequence[str], completions: Sequence[str], **_: Any) -> list[float | None]:
        pairs = zip(prompts, completions, strict=True)
        return [rule(examples[int(prompt)], completion) for prompt, completion in pairs]

    reward.__name__ = rule.__name__
    return reward


def weight_of(accuracy: float) -> float:
    """Return what a reward model counts: nothing where it tells no more than a coin does."""
    return LIKED * max(0.0, 2 * accuracy - 1)
