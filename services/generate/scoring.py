"""Tells how likely completions are after the prompt that an answer would get."""

import asyncio
import math
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from services.common.identity import Identity
from services.common.prompts.prompt import PromptPacker
from services.generate import metrics
from services.generate.admission import Admission
from services.generate.aliases import Serving
from services.generate.answers import Adapters, Wanted, packed
from services.generate.domain.errors import EngineBusy, InvalidCompletions
from services.generate.ports import Completing, Engine, ScoreJob

MOST_COMPLETIONS = 16
MOST_CHARACTERS = 8000


@dataclass(frozen=True, slots=True)
class Scored:
    """The sum of the natural logarithms of a completion's tokens' probabilities, and how many tokens those are."""

    logprob: float
    tokens: int


@dataclass(frozen=True, slots=True)
class Model:
    """What prompts and completions are made of; `context_tokens` hold both."""

    packer: PromptPacker
    tokenizer: Completing
    context_tokens: int


class Scores:
    """Scores completions on one engine, in turn with the answers that it writes."""

    def __init__(self, engine: Engine, model: Model, admission: Admission, adapters: Adapters) -> None:
        self._engine = engine
        self._model = model
        self._admission = admission
        self._adapters = adapters

    async def score(
        self, identity: Identity, wanted: Wanted, completions: Sequence[str]
    ) -> tuple[Sequence[Scored], Serving]:
        """Return each completion's likelihood, and who scored.

        Raises:
            InvalidCompletions: there are none, too many, or one is empty or does not fit.
            As of Answers.write: it cannot be scored, or not now.
        """
        _check(completions)
        try:
            async with self._admission.slot():
                prompt = await packed(self._model.packer, wanted)
                encoded = await asyncio.to_thread(self._encoded, completions)
                room = min(wanted.sampling.max_tokens, self._model.context_tokens - 1 - len(prompt.token_ids))
                if max(map(len, encoded)) > room:
                    raise InvalidCompletions("a completion is longer than the room for it", limit_tokens=room)
                async with self._adapters.permitted(identity, wanted.adapter, wanted.conversation_id) as serving:
                    jobs = [_job(prompt.token_ids, token_ids, serving) for token_ids in encoded]
                    return [await self._scored(job) for job in jobs], serving
        except EngineBusy:
            metrics.REJECTED.inc()
            raise

    async def _scored(self, job: ScoreJob) -> Scored:
        return Scored(math.fsum(await self._engine.score(job)), len(job.completion_ids))

    def _encoded(self, completions: Sequence[str]) -> list[list[int]]:
        tokenizer = self._model.tokenizer
        return [[*tokenizer.encode(text), *tokenizer.ending()] for text in completions]


def _job(prompt: Sequence[int], completion: Sequence[int], serving: Serving) -> ScoreJob:
    job_id = uuid.uuid4().hex
    # Under a salt of its own, what it leaves in the cache serves nobody.
    return ScoreJob(job_id, prompt, completion, job_id, serving.loaded.engine_adapter if serving.loaded else None)


def _check(completions: Sequence[str]) -> None:
    if not 1 <= len(completions) <= MOST_COMPLETIONS:
        raise InvalidCompletions("there are none to score, or too many", limit=MOST_COMPLETIONS)
    if not all(0 < len(text) <= MOST_CHARACTERS for text in completions):
        raise InvalidCompletions("a completion is empty, or too long", limit_characters=MOST_CHARACTERS)
