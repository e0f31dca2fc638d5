"""Has candidate and live do the same, a bounded number of things at a time."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

import structlog

from services.common.errors import ServiceError
from services.common.faults import described
from services.common.identity import Identity
from services.tune.domain.gate_rules import Rules
from services.tune.gate.errors import ContenderAway, PromptRefused
from services.tune.gate.ports import Contender, Engine, Likelihood, Prompt, Written

T = TypeVar("T")
R = TypeVar("R")

# Hears of a stage and how far it is; raises RunEnded to end it all.
Tell = Callable[[str, float], Awaitable[None]]
# How often something is tried on an engine that has forgotten its adapters, because it was started anew.
ATTEMPTS = 4
REST_SECONDS = 2.0
UNLOAD_SECONDS = 30.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Contest:
    """Two contenders on one engine, as somebody, by a tenant's rules; `at_once` bounds what runs at a time."""

    identity: Identity
    engine: Engine
    candidate: Contender
    live: Contender
    rules: Rules
    told: Tell
    at_once: int

    async def each(self, stage: str, items: Sequence[T], work: Callable[[T], Awaitable[R]]) -> list[R]:
        """Return what `work` makes of every item, in their order.

        Raises:
            Exception: the first that `work` or `told` raised; the others' work is ended.
        """
        made: dict[int, R] = {}
        waiting = iter(enumerate(items))

        async def worker() -> None:
            for place, item in waiting:
                made[place] = await work(item)
                await self.told(stage, len(made) / len(items))

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(self.at_once, len(items))):
                    group.create_task(worker())
        except BaseExceptionGroup as failed:
            raise failed.exceptions[0] from failed
        return [made[place] for place in range(len(items))]

    async def write(self, contender: Contender, prompt: Prompt, max_tokens: int) -> Written:
        """Return a contender's answer."""
        return await self._present(contender, lambda: self.engine.write(self.identity, contender, prompt, max_tokens))

    async def score(self, contender: Contender, prompt: Prompt, completions: Sequence[str]) -> list[Likelihood]:
        """Return how likely a contender finds completions."""
        return await self._present(contender, lambda: self.engine.score(self.identity, contender, prompt, completions))

    async def both(self, call: Callable[[Contender], Awaitable[R]]) -> tuple[R, R] | None:
        """Return what a call gives for live and for candidate; None where the engine takes no such prompt."""
        try:
            return await call(self.live), await call(self.candidate)
        except PromptRefused:
            return None

    @asynccontextmanager
    async def loaded(self) -> AsyncIterator[None]:
        """Have the candidate in the engine, and take it out whatever happens."""
        try:
            await self.engine.load(self.identity, self.candidate)
            yield
        finally:
            # A run that was ended leaves nothing behind either; what cannot be unloaded decides nothing.
            try:
                async with asyncio.timeout(UNLOAD_SECONDS):
                    await self.engine.unload(self.identity, self.candidate)
            except (ServiceError, TimeoutError) as error:
                log.warning("candidate_stays_loaded", adapter=self.candidate.name, error=described(error))

    async def _present(self, contender: Contender, call: Callable[[], Awaitable[R]]) -> R:
        for _ in range(ATTEMPTS - 1):
            try:
                return await call()
            except ContenderAway:
                if contender == self.candidate:
                    await self.engine.load(self.identity, self.candidate)
                else:
                    # What is live comes back by itself.
                    await asyncio.sleep(REST_SECONDS)
        return await call()


def drawn(ids: Sequence[T], key: Callable[[T], str], limit: int) -> list[T]:
    """Return at most `limit` of the items: always the same ones of the same items, whatever their order."""
    by_hash = sorted(ids, key=lambda each: hashlib.sha256(key(each).encode()).digest())
    return by_hash[:limit]
