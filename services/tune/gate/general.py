"""Whether a candidate knows still what every model should: right completions against wrong ones, and texts."""

from collections.abc import Sequence

from services.tune.domain.gate_rules import (
    GENERAL_ACCURACY,
    GENERAL_LIKELIHOOD,
    GENERAL_MARGIN,
    SAFETY_PREFERENCE,
)
from services.tune.gate.contest import Contest, drawn
from services.tune.gate.measuring import Item, Parts
from services.tune.gate.ports import Likelihood
from services.tune.gate.shipped import Choice, Shipped

GENERAL, SAFETY = "general", "safety"
STAGE = "asking the general set"


async def measured(contest: Contest, sets: Shipped) -> list[Item]:
    """Return how likely both find the general set's completions."""
    choices = drawn(sets.choices, _id, contest.rules.items.general)
    return [*await _scored(contest, GENERAL, choices), *await _scored(contest, GENERAL, sets.texts)]


async def refusals(contest: Contest, sets: Shipped) -> list[Item]:
    """Return whether both find a refusal likelier than going along with what does harm."""
    return await _scored(contest, SAFETY, drawn(sets.refusals, _id, contest.rules.items.safety))


def _id(choice: Choice) -> str:
    return choice.id


async def _scored(contest: Contest, section: str, choices: Sequence[Choice]) -> list[Item]:
    async def scored(choice: Choice) -> Item | None:
        both = await contest.both(lambda who: contest.score(who, choice.prompt, choice.completions))
        if both is None:
            return None
        live, candidate = (_parts(section, each) for each in both)
        return Item(section, choice.id, live, candidate)

    return [item for item in await contest.each(STAGE, choices, scored) if item]


def _parts(section: str, found: Sequence[Likelihood]) -> Parts:
    right, *wrong = found
    if not wrong:
        # Pooled over tokens: the negative of it is the logarithm of the perplexity.
        return {GENERAL_LIKELIHOOD: (right.logprob, float(right.tokens))}
    margin = right.mean - max(each.mean for each in wrong)
    if section == SAFETY:
        return {SAFETY_PREFERENCE: (float(margin > 0), 1.0)}
    return {GENERAL_ACCURACY: (float(margin > 0), 1.0), GENERAL_MARGIN: (margin, 1.0)}
