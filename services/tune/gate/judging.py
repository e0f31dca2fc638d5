"""The gate: candidate and live do the same on one engine, and the tenant's rules say whether that is enough."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from services.common.evaluation.questions import Question
from services.common.identity import Identity
from services.tune.domain.adapters import AdapterReport, Candidate
from services.tune.domain.evaluations import SetNotFound
from services.tune.gate import general, golden, held_out, latency, safety
from services.tune.gate.contest import Contest, Tell
from services.tune.gate.errors import ContenderMoved, LiveMoves
from services.tune.gate.measuring import Item, figures_of
from services.tune.gate.ports import (
    Contender,
    Engine,
    GateRules,
    GoldenPassages,
    GoldenSets,
    HeldOut,
    LiveAdapters,
    Rows,
)
from services.tune.gate.report import Measured, report_of
from services.tune.gate.shipped import shipped

NAME = "candidate-{}"
NAMED_CHARS = 16
# How often a measurement begins anew because what is live was changed meanwhile.
BEGINNINGS = 3
REST_SECONDS = 2.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Sources:
    """What a candidate is measured on, and whom against, by which rules."""

    held_out: HeldOut
    sets: GoldenSets
    passages: GoldenPassages
    live: LiveAdapters
    rules: GateRules


@dataclass(frozen=True, slots=True)
class _Material:
    """What a candidate is measured on; a golden set that is not there says why."""

    rows: Rows
    questions: tuple[Question, ...]
    skipped: dict[str, str]


class EngineGate:
    """A CandidateGate that measures on the engine, `at_once` things at a time."""

    def __init__(self, engine: Engine, sources: Sources, at_once: int) -> None:
        self._engine = engine
        self._sources = sources
        self._at_once = at_once

    async def judge(self, candidate: Candidate, told: Tell) -> AdapterReport:
        """Return how a candidate does against what is live, and whether that passes the tenant's rules.

        Raises:
            ServiceError: it could not be measured, and why.
            RunEnded: `told` says that nobody wants to know any more.
        """
        for _ in range(BEGINNINGS):
            try:
                return await self._judged(candidate, told)
            except ContenderMoved:
                log.info("gate_begins_anew", run_id=candidate.run_id)
                await asyncio.sleep(REST_SECONDS)
        raise LiveMoves("what is live was changed again and again meanwhile", alias=candidate.alias)

    async def _judged(self, candidate: Candidate, told: Tell) -> AdapterReport:
        kept = await self._sources.rules.live(candidate.identity)
        live = await self._live(candidate)
        own = Contender(NAME.format(candidate.digest.removeprefix("sha256:")[:NAMED_CHARS]), candidate.digest)
        contest = Contest(candidate.identity, self._engine, own, live, kept.rules, told, self._at_once)
        material = await self._material(candidate)
        began = time.monotonic()
        async with contest.loaded():
            items = await self._measured(contest, material)
        measured = Measured(items, _available(material), material.skipped, time.monotonic() - began)
        figures = await asyncio.to_thread(figures_of, items)
        report = report_of(candidate, live.digest, kept, figures, measured)
        log.info("gate_ends", run_id=candidate.run_id, passed=report.passed, seconds=round(measured.seconds, 1))
        return report

    async def _live(self, candidate: Candidate) -> Contender:
        """Return what a candidate is measured against; under its alias, it is asked as everybody asks it."""
        if not candidate.alias:
            return Contender()
        digest = await self._sources.live.live(candidate.identity.tenant_id, candidate.alias)
        return Contender(candidate.alias, digest) if digest else Contender()

    async def _material(self, candidate: Candidate) -> _Material:
        rows = await self._sources.held_out.test(candidate.identity.tenant_id, candidate.dataset)
        skipped = {} if rows.rows else {"held-out": "the data set has no test split"}
        if not candidate.golden_set:
            return _Material(rows, (), skipped | {"golden": "the run names no golden set"})
        questions = await self._questions(candidate.identity, candidate.golden_set)
        if not questions:
            skipped["golden"] = "the golden set is gone, or has no question that the run's caller may read"
        return _Material(rows, questions, skipped)

    async def _questions(self, identity: Identity, name: str) -> tuple[Question, ...]:
        try:
            return await self._sources.sets.questions(identity, name)
        except SetNotFound:
            return ()

    async def _measured(self, contest: Contest, material: _Material) -> Sequence[Item]:
        """Return what all sections measure; times first, as long as neither's caches hold more than the other's."""
        sets = shipped()
        return [
            *await latency.measured(contest, sets),
            *await general.measured(contest, sets),
            *await general.refusals(contest, sets),
            *await safety.measured(contest, sets),
            *await held_out.measured(contest, material.rows),
            *await golden.measured(contest, self._sources.passages, material.questions),
        ]


def _available(material: _Material) -> dict[str, int]:
    sets = shipped()
    return {
        latency.LATENCY: len(sets.choices),
        general.GENERAL: len(sets.choices) + len(sets.texts),
        general.SAFETY: len(sets.probes) + len(sets.refusals),
        "held-out": len(material.rows.rows),
        "golden": len(material.questions),
    }
