"""How long a candidate takes beside what is live: the same prompts, in turn, one at a time."""

from services.tune.domain.gate_rules import FIRST_TOKEN_RATIO, TOKEN_RATIO
from services.tune.gate.contest import Contest
from services.tune.gate.measuring import Item, Parts
from services.tune.gate.ports import Contender, Written
from services.tune.gate.shipped import Choice, Shipped

LATENCY = "latency"
STAGE = "timing answers"
TIMED_TOKENS = 32
# The faster one of so many counts: what users' questions take meanwhile is nobody's slowness.
ROUNDS = 2


async def measured(contest: Contest, sets: Shipped) -> list[Item]:
    """Return how long both take for the first token, and for each that follows."""
    prompts = [(number, each) for number, each in enumerate(sets.choices[: contest.rules.items.latency])]
    items: list[Item] = []
    for number, choice in prompts:
        items += await _timed(contest, choice, candidate_first=number % 2 == 0)
        await contest.told(STAGE, (number + 1) / len(prompts))
    return items


async def _timed(contest: Contest, choice: Choice, *, candidate_first: bool) -> list[Item]:
    order = [contest.candidate, contest.live] if candidate_first else [contest.live, contest.candidate]
    found: dict[Contender, list[Written]] = {who: [] for who in order}
    for _ in range(ROUNDS):
        for who in order:
            found[who].append(await contest.write(who, choice.prompt, TIMED_TOKENS))
    parts = _parts(found[contest.candidate], found[contest.live])
    return [Item(LATENCY, choice.id, {}, parts)] if parts else []


def _parts(candidate: list[Written], live: list[Written]) -> Parts:
    first = [min(each.first_token_seconds for each in one) for one in (candidate, live)]
    token = [min(map(_token_seconds, one)) for one in (candidate, live)]
    parts: dict[str, tuple[float, float]] = {}
    if all(first):
        parts[FIRST_TOKEN_RATIO] = (first[0], first[1])
    if all(token):
        parts[TOKEN_RATIO] = (token[0], token[1])
    return parts


def _token_seconds(written: Written) -> float:
    """Return the seconds that each token after the first took; 0 where there was none."""
    return (written.seconds - written.first_token_seconds) / (written.tokens - 1) if written.tokens > 1 else 0.0
