"""Proves that an adapter's weights answer: the engine scores what was scored where it was trained."""

import math
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from services.common.lora.card import Probe
from services.generate import metrics
from services.generate.domain.errors import InvalidCompletions, ProbeFailed
from services.generate.ports import Engine, EngineAdapter, ScoreJob

# Tokens that every vocabulary has, for adapters of which nothing was recorded.
ANY = Probe((1, 2, 3), (4, 5, 6), (), ())

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Prover:
    """`tolerance` is how far log-probabilities may be off, in nats, as the mean over a probe's tokens."""

    engine: Engine
    tolerance: float

    async def prove(self, adapter: EngineAdapter, probe: Probe | None) -> None:
        """Check that the engine answers with the adapter as it did where it was trained, and not as the base model.

        Without a probe, it is only checked that it answers at all.

        Raises:
            ProbeFailed: it does not.
            EngineDead: the engine has stopped.
        """
        try:
            await self._check(adapter, probe)
        except ProbeFailed:
            metrics.PROBE_FAILURES.inc()
            raise

    async def _check(self, adapter: EngineAdapter, probe: Probe | None) -> None:
        found = await self._scored(adapter, probe or ANY)
        if not found or not all(map(math.isfinite, found)):
            raise ProbeFailed("the engine gives no log-probabilities with the adapter")
        if probe is None:
            log.warning("adapter_without_probe", adapter=adapter.name)
        else:
            self._compare(adapter, probe, found)

    def _compare(self, adapter: EngineAdapter, probe: Probe, found: Sequence[float]) -> None:
        if not len(found) == len(probe.logprobs) == len(probe.base_logprobs):
            raise ProbeFailed("the probe has not one log-probability for each token")
        own, base = _distance(found, probe.logprobs), _distance(found, probe.base_logprobs)
        facts = {"off": round(own, 4), "off_base": round(base, 4), "tolerance": self.tolerance}
        # Written so that what is no number is refused.
        if not own <= self.tolerance:
            raise ProbeFailed("the engine answers otherwise with the adapter than where it was trained", **facts)
        if _distance(probe.logprobs, probe.base_logprobs) <= self.tolerance / 2:
            log.warning("adapter_hardly_differs", adapter=adapter.name, **facts)
        elif not own < base:
            raise ProbeFailed("the engine answers with the base model instead of the adapter", **facts)

    async def _scored(self, adapter: EngineAdapter, probe: Probe) -> list[float]:
        job = ScoreJob(uuid.uuid4().hex, probe.prompt, probe.completion, f"probe/{adapter.name}", adapter)
        try:
            return await self.engine.score(job)
        except InvalidCompletions as error:
            raise ProbeFailed("the probe is none of this model's") from error


def _distance(first: Sequence[float], second: Sequence[float]) -> float:
    """Return the mean of the differences' sizes."""
    return math.fsum(abs(one - other) for one, other in zip(first, second, strict=True)) / len(first)
