"""An engine without a model, for tests and for measuring everything around an engine, and what needs no database."""

import asyncio
import contextlib
import hashlib
import itertools
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from services.common.identity import Identity
from services.common.permissions import PermissionsUnavailable
from services.common.prompts.packing import Piece
from services.generate.domain.errors import EngineDead
from services.generate.ports import EngineAdapter, FinishReason, Job, ScoreJob, Step

_WORDS = ("The", "passage", "[1]", "says", "so.")


class MemoryEngine:
    """Writes `tokens` words for each job: all at once, or some every `step_seconds`."""

    def __init__(self, tokens: int = 32, step_tokens: int = 0, step_seconds: float = 0.0) -> None:
        """`step_tokens` 0 is all of them in one step."""
        self._tokens = tokens
        self._step_tokens = step_tokens or tokens
        self._step_seconds = step_seconds
        self._jobs: dict[str, Job] = {}
        self._adapters: dict[int, EngineAdapter] = {}
        self._dead = asyncio.Event()

    @contextlib.asynccontextmanager
    async def answering(self, job: Job) -> AsyncIterator[AsyncIterator[Step]]:
        self._check()
        self._jobs[job.id] = job
        try:
            yield self._steps(job)
        finally:
            del self._jobs[job.id]

    async def score(self, job: ScoreJob) -> list[float]:
        self._check()
        return pseudo_logprobs(job.token_ids, job.completion_ids, job.adapter)

    async def load(self, adapter: EngineAdapter) -> None:
        self._check()
        self._adapters[adapter.id] = adapter

    async def unload(self, adapter_id: int) -> None:
        self._check()
        self._adapters.pop(adapter_id, None)

    async def adapters(self) -> set[int]:
        self._check()
        return set(self._adapters)

    async def forget_prompts(self) -> None:
        self._check()

    def running(self) -> int:
        return len(self._jobs)

    def kill(self) -> None:
        """Stop as an engine does that has crashed."""
        self._dead.set()

    async def ping(self) -> None:
        self._check()

    async def until_dead(self) -> NoReturn:
        await self._dead.wait()
        raise EngineDead("the engine has stopped")

    async def _steps(self, job: Job) -> AsyncIterator[Step]:
        total = min(self._tokens, job.sampling.max_tokens)
        words = itertools.cycle(_WORDS)
        for done in range(0, total, self._step_tokens):
            if self._step_seconds:
                await asyncio.sleep(self._step_seconds)
            self._check()
            count = min(self._step_tokens, total - done)
            text = " ".join(itertools.islice(words, count))
            ended = FinishReason.LENGTH if total == job.sampling.max_tokens else FinishReason.STOP
            yield Step(f" {text}" if done else text, count, ended if done + count == total else None)

    def _check(self) -> None:
        if self._dead.is_set():
            raise EngineDead("the engine has stopped")


def pseudo_logprobs(
    token_ids: Sequence[int], completion_ids: Sequence[int], adapter: EngineAdapter | None
) -> list[float]:
    """Return what stands for log-probabilities, -8 to 0: always the same of the same tokens and the same weights."""
    weights = Path(adapter.folder).name if adapter else ""
    known = [*token_ids, *completion_ids]
    ends = range(len(token_ids) + 1, len(known) + 1)
    digests = [hashlib.sha256(repr((weights, known[:end])).encode()).digest() for end in ends]
    return [-8 * int.from_bytes(digest[:4]) / 2**32 for digest in digests]


class WordTokenizer:
    """A tokenizer without a vocabulary: a token is a word, or a piece of a frame."""

    def encode(self, text: str) -> Sequence[int]:
        return range(len(text.split()))

    def ending(self) -> Sequence[int]:
        return (0,)

    def beginning(self, text: str, tokens: int) -> str:
        words = text.split()
        return text if len(words) <= tokens else " ".join(words[:tokens])

    def frame(self, turns: int) -> Sequence[Piece]:
        texts = ["<system>", *["\n<user>", "\n<assistant>"] * turns, "\n<user>", "\n<assistant>"]
        return [Piece(text, (0,)) for text in texts]


class NoReadership:
    """A Readership where no manifest is known: nothing that needs one is shown."""

    async def readable(self, identity: Identity, document_ids: Collection[str]) -> Mapping[str, bool]:
        raise PermissionsUnavailable("no manifest is known here")

    async def existing(self, identity: Identity, document_ids: Collection[str]) -> set[str]:
        raise PermissionsUnavailable("no manifest is known here")


class MemoryErasedPeople:
    """ErasedPeople for as long as the process runs, which is as long as adapters stay loaded."""

    def __init__(self) -> None:
        self._erased: defaultdict[str, set[str]] = defaultdict(set)

    async def add(self, identity: Identity, principals: Collection[str]) -> None:
        self._erased[identity.tenant_id].update(principals)

    async def among(self, identity: Identity, principals: Collection[str]) -> set[str]:
        return self._erased[identity.tenant_id] & set(principals)

    async def forget(self, identity: Identity) -> None:
        self._erased.pop(identity.tenant_id, None)
