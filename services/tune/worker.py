"""Works on runs that wait: one of a tenant at a time, of as many tenants as the deployment allows.

What trains an adapter is taken up again where the service or the process was killed; what trains a reranker is not.
"""

import asyncio
import contextlib
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import grpc
import structlog

from services.common.errors import ServiceError, Unavailable
from services.tune.adapter_conducting import AdapterConductor
from services.tune.adapters.postgres import PostgresRerankers
from services.tune.adapters.runs import PostgresRuns
from services.tune.conducting import Conductor
from services.tune.domain.adapter_runs import MAX_ATTEMPTS, AdapterOrder, Step
from services.tune.domain.errors import (
    CallRefused,
    RunEnded,
    RunTooLong,
    ServiceUnavailable,
    StoreUnavailable,
    TrainingFailed,
)
from services.tune.domain.runs import Order, Run, RunState
from services.tune.metrics import ADAPTER_GATES, GATES, IN_USE, RUNS, show_step
from services.tune.turns import Turns

OBSERVE_SECONDS = 15.0
# How often it is said how far a run is, and looked whether it was ended.
BEAT_SECONDS = 1.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Limits:
    """How many runs are worked on at once, the most seconds that one may take, and those until it tries again."""

    at_once: int
    run_seconds: float
    retry_seconds: float = 30.0


@dataclass(frozen=True, slots=True)
class Conductors:
    """Who conducts runs, by what they train."""

    rerankers: Conductor
    adapters: AdapterConductor


class Worker:
    """Takes runs from the store and conducts them in folders below `cache`; several replicas share the work."""

    def __init__(
        self, runs: PostgresRuns, conductors: Conductors, cache: Path, now: Callable[[], datetime], limits: Limits
    ) -> None:
        self._runs = runs
        self._conductors = conductors
        self._cache = cache
        self._now = now
        self._limits = limits
        self._turns = Turns("run", runs.waiting_tenants, self._serve, limits.at_once)

    def wake(self) -> None:
        """Tell that a run waits."""
        self._turns.wake()

    async def run(self) -> None:
        """Work for ever."""
        await self._turns.run(self._sweep)

    async def _sweep(self) -> None:
        """Remove what a process that was killed left behind, but for what is taken up again."""
        resumable = await self._runs.resumable()
        for folder in await asyncio.to_thread(lambda: list(self._cache.glob("*"))):
            if folder.name not in resumable:
                await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def _serve(self, tenant_id: str) -> None:
        """Work on a tenant's oldest run, unless another replica works on one of the tenant."""
        async with self._runs.claim(tenant_id, self._now()) as claimed:
            if claimed:
                await self._work(*claimed)

    async def _work(self, run: Run, order: Order | AdapterOrder) -> None:
        log.info("run_begins", run_id=run.run_id, tenant_id=run.tenant_id)
        folder = self._cache / run.run_id
        try:
            failure = await self._conducted(run, order, folder)
        except asyncio.CancelledError:
            # The service stops. An adapter is gone on with after that.
            if isinstance(order, Order):
                await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
            raise
        if failure and _is_tried_again(run, failure):
            log.warning("run_waits", run_id=run.run_id, tenant_id=run.tenant_id, failure=failure.reason)
            await asyncio.sleep(self._limits.retry_seconds)
            return
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        if failure:
            await self._runs.fail(run, failure, self._now())
        log.info("run_ends", run_id=run.run_id, tenant_id=run.tenant_id, failure=failure.reason if failure else "")

    async def _conducted(self, run: Run, order: Order | AdapterOrder, folder: Path) -> ServiceError | None:
        """Conduct a run and keep what it makes; return why it made nothing."""
        try:
            await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
            async with asyncio.timeout(self._seconds_left(run)):
                if isinstance(order, AdapterOrder):
                    await self._finish_adapter(run, order, folder)
                else:
                    await self._finish(run, order, folder)
        except RunEnded:
            return None
        except TimeoutError:
            return RunTooLong("the run took longer than a run may", seconds=self._limits.run_seconds)
        except ServiceError as error:
            return error
        except grpc.aio.AioRpcError as error:
            return _refused(error)
        except Exception:
            # One run's fault must not end the service.
            log.exception("run_fails", run_id=run.run_id)
            return TrainingFailed("the run failed")
        return None

    def _seconds_left(self, run: Run) -> float:
        began = run.started_at or self._now()
        return self._limits.run_seconds - (self._now() - began).total_seconds()

    async def _finish(self, run: Run, order: Order, folder: Path) -> None:
        conductor = self._conductors.rerankers
        reranker = await conductor.conduct(run, order, folder, Beat(self._runs, run))
        if not await self._runs.succeed(run, reranker, self._now()):
            await conductor.discard(reranker)
            return
        GATES.labels("passed" if reranker.report.passed else "failed").inc()

    async def _finish_adapter(self, run: Run, order: AdapterOrder, folder: Path) -> None:
        method = order.method.value
        try:
            made = await self._conductors.adapters.conduct(run, order, folder, Beat(self._runs, run), self._now)
        finally:
            show_step(method, None)
        passed = bool(made.report and made.report.passed)
        if await self._runs.succeed_with_adapter(run, made.digest, self._now(), passed=passed):
            ADAPTER_GATES.labels(method, "passed" if passed else "failed").inc()


def _is_tried_again(run: Run, failure: ServiceError) -> bool:
    """Return whether a run goes on later: it trains an adapter, and something that it needs does not answer now."""
    return isinstance(failure, Unavailable) and run.training is not None and run.training.attempts < MAX_ATTEMPTS


def _refused(error: grpc.aio.AioRpcError) -> ServiceError:
    """Return what a call that a run made ended with."""
    if error.code() is grpc.StatusCode.UNAVAILABLE:
        return ServiceUnavailable("a service that the run asks does not answer")
    return CallRefused(f"a service says {error.code().name}")


class Beat:
    """Says how far a run is, not oftener than it is looked at, and ends the work on one that was ended.

    Every method raises RunEnded where somebody has ended the run.
    """

    def __init__(self, runs: PostgresRuns, run: Run) -> None:
        self._runs = runs
        self._run = run
        self._stage = ""
        self._next = 0.0

    async def __call__(self, stage: str, progress: float) -> None:
        """Say it."""
        await self._tell(stage, progress, None)

    async def advance(self, stage: str, step: Step) -> None:
        """Say how many steps of training are done."""
        if self._run.training:
            show_step(self._run.training.method.value, step)
        await self._tell(stage, step.step / step.steps if step.steps else 0.0, step)

    async def resolve(self, hyperparameters: Mapping[str, float]) -> None:
        """Say what training computes with."""
        if not await self._runs.resolve(self._run, hyperparameters):
            raise RunEnded

    async def _tell(self, stage: str, progress: float, step: Step | None) -> None:
        if stage == self._stage and progress < 1 and time.monotonic() < self._next:
            return
        if not await self._runs.tell(self._run, stage, progress, step):
            raise RunEnded
        self._stage, self._next = stage, time.monotonic() + BEAT_SECONDS


async def observe(runs: PostgresRuns, rerankers: PostgresRerankers) -> None:
    """Keep the gauges as the database is, for ever."""
    while True:
        with contextlib.suppress(StoreUnavailable):
            counts = await runs.counts()
            for state in RunState:
                RUNS.labels(state.value).set(counts.get(state.value, 0))
            IN_USE.set(await rerankers.in_use())
        await asyncio.sleep(OBSERVE_SECONDS)
