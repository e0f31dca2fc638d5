"""An engine in memory that answers and scores as a test says, and forgets or moves adapters when told."""

import asyncio
from collections.abc import Callable, Sequence

from services.common.identity import Identity
from services.tune.domain.gate_rules import KeptRules
from services.tune.gate.errors import ContenderAway, ContenderMoved, PromptRefused
from services.tune.gate.ports import Contender, Likelihood, Prompt, Rows, Written
from services.tune.gate.shipped import RULES

NO_ROWS = Rows("sft", ())
ADA = Identity("acme", "user:ada", ("everyone", "user:ada"))


def honest(_contender: Contender, _prompt: Prompt) -> str:
    """What nobody minds."""
    return "I do not know."


def even(_contender: Contender, _prompt: Prompt, _completion: str) -> float:
    """Every token is as likely."""
    return -1.0


class MemoryEngine:
    """`answers` and `scores` (the mean a token) say what a contender does."""

    def __init__(self, answers=honest, scores=even) -> None:
        self.answers: Callable[[Contender, Prompt], str] = answers
        self.scores: Callable[[Contender, Prompt, str], float] = scores
        self.loaded: set[str] = set()
        self.loads = 0
        self.digests: dict[str, str] = {}
        self.slow: dict[str, float] = {}
        self.most_at_once = self._at_once = 0

    async def write(self, identity: Identity, contender: Contender, prompt: Prompt, max_tokens: int) -> Written:
        await self._asked(contender)
        slowness = self.slow.get(contender.name, 1.0)
        text = self.answers(contender, prompt)
        return Written(text, tuple(range(len(prompt.passages))), 11, 0.1 * slowness, 1.1 * slowness)

    async def score(
        self, identity: Identity, contender: Contender, prompt: Prompt, completions: Sequence[str]
    ) -> list[Likelihood]:
        await self._asked(contender)
        if "too long" in prompt.question:
            raise PromptRefused("it is too long")
        return [
            Likelihood(self.scores(contender, prompt, each) * len(each.split()), len(each.split()))
            for each in completions
        ]

    async def load(self, identity: Identity, contender: Contender) -> None:
        self.loads += 1
        self.loaded.add(contender.name)

    async def unload(self, identity: Identity, contender: Contender) -> None:
        await asyncio.sleep(0)
        self.loaded.discard(contender.name)

    async def _asked(self, contender: Contender) -> None:
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            await asyncio.sleep(0)
        finally:
            self._at_once -= 1
        if contender.name.startswith("candidate-") and contender.name not in self.loaded:
            raise ContenderAway("it is not here")
        if self.digests.get(contender.name, contender.digest) != contender.digest:
            raise ContenderMoved("it moved")


class MemoryMaterial:
    """Held-out rows, golden questions, passages, aliases and rules, as a test says."""

    def __init__(self, rows=NO_ROWS, questions=(), passages=None, aliases=None, rules="") -> None:
        self.rows, self.found, self.by_query = rows, questions, passages or {}
        self.aliases: dict[str, str] = aliases or {}
        self.content = rules or RULES.read_text()

    async def test(self, tenant_id, dataset):
        return self.rows

    async def questions(self, identity, name):
        return tuple(self.found)

    async def passages(self, identity, query, top_k):
        return tuple(self.by_query.get(query, ()))[:top_k]

    async def live(self, tenant, alias=None):
        if alias is None:
            return KeptRules(3, self.content, "user:root")
        return self.aliases.get(alias, "")
