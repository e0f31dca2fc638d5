"""Holds an answer against its passages, and a question, too: what is supported, and what is there to be told."""

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from services.common.grounding.abstention import NEVER, Thresholds
from services.common.grounding.citations import Checked, Given, check, doubtful, judged
from services.gateway.domain.assistants import Assistant, CitationPolicy
from services.gateway.ports import Entailment, EntailmentFailed


@dataclass(frozen=True, slots=True)
class Judge:
    """An entailment model, the most seconds that it gets, and from what score on it says yes."""

    entailment: Entailment
    seconds: float
    least: float


@dataclass(frozen=True, slots=True)
class Checks:
    """How answers are checked: by words, and by a judge where there is one; when there is none; in which languages."""

    judge: Judge | None = None
    thresholds: Thresholds = NEVER
    languages: tuple[str, ...] = ()
    cites: bool = True

    def of(self, assistant: Assistant) -> "Checks":
        """Return the checks as the assistant wants them."""
        policy = assistant.citation_policy
        never = assistant.without_abstention or assistant.without_retrieval
        thresholds = NEVER if never else self.thresholds
        if policy is CitationPolicy.REQUIRE:
            thresholds = replace(thresholds, unsupported_below=math.inf)
        return replace(self, thresholds=thresholds, cites=policy is not CitationPolicy.OFF)

    async def check(self, answer: str, passages: Sequence[Given], question: str) -> Checked:
        """Return what of `answer` the passages support.

        Where the judge fails or is late, what words say stands, and the reason is told.
        """
        if not self.cites:
            return Checked(())
        # Many sentences over many passages take longer than the tokens of others may wait.
        verdicts = await asyncio.to_thread(check, answer, passages, question)
        pairs = [
            (passages[span.passage_index].text[span.start : span.end], answer[verdict.start : verdict.end])
            for verdict, span in doubtful(verdicts)
        ]
        if self.judge is None or not pairs:
            return Checked(verdicts)
        try:
            async with asyncio.timeout(self.judge.seconds):
                scores = await self.judge.entailment.scores(pairs)
        except (EntailmentFailed, TimeoutError):
            return Checked(verdicts, EntailmentFailed.reason)
        return Checked(judged(verdicts, scores, self.judge.least))
