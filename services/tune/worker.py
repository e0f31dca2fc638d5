"""Works on runs that wait: one of a tenant at a time, of as many tenants as the deployment allows."""

import asyncio
import contextlib
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import grpc
import structlog

from services.common.errors import ServiceError
from services.common.faults import described
from services.tune.adapters.postgres import PostgresRerankers, PostgresRuns
from services.tune.conducting import Conductor
from services.tune.domain.errors import CallRefused, RunEnded, RunTooLong, StoreUnavailable, TrainingFailed
from services.tune.domain.runs import Order, Run, RunState
from services.tune.metrics import GATES, IN_USE, RUNS

LOOK_SECONDS = 1.0
OBSERVE_SECONDS = 15.0
# How often it is said how far a run is, and looked whether it was ended.
BEAT_SECONDS = 1.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Limits:
    """How many runs are worked on at once, and the most seconds that one may take."""

    at_once: int
    run_seconds: float


class Worker:
    """Takes runs from the store and conducts them in folders below `cache`; several replicas share the work."""

    def __init__(
        self, runs: PostgresRuns, conductor: Conductor, cache: Path, now: Callable[[], datetime], limits: Limits
    ) -> None:
        self._runs = runs
        self._conductor = conductor
        self._cache = cache
        self._now = now
        self._limits = limits
        self._waiting = asyncio.Event()
        self._at_work: set[str] = set()

    def wake(self) -> None:
        """Tell that a run waits."""
        self._waiting.set()

    async def run(self) -> None:
        """Work for ever."""
        # What a process that was killed left behind.
        await asyncio.to_thread(shutil.rmtree, self._cache, ignore_errors=True)
        async with asyncio.TaskGroup() as group:
            while True:
                self._waiting.clear()
                try:
                    await self._look(group)
                except StoreUnavailable:
                    log.warning("runs_wait_for_the_database")
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_SECONDS):
                        await self._waiting.wait()

    async def _look(self, group: asyncio.TaskGroup) -> None:
        for tenant_id in await self._runs.waiting_tenants():
            if len(self._at_work) >= self._limits.at_once:
                return
            if tenant_id not in self._at_work:
                self._at_work.add(tenant_id)
                group.create_task(self._serve(tenant_id))

    async def _serve(self, tenant_id: str) -> None:
        """Work on a tenant's oldest run, unless another replica works on one of the tenant."""
        try:
            async with self._runs.claim(tenant_id, self._now()) as claimed:
                if claimed:
                    await self._work(*claimed)
        except StoreUnavailable as error:
            log.warning("run_lost_the_database", error=described(error))
        finally:
            self._at_work.discard(tenant_id)

    async def _work(self, run: Run, order: Order) -> None:
        log.info("run_begins", run_id=run.run_id, tenant_id=run.tenant_id)
        folder = self._cache / run.run_id
        try:
            failure = await self._conducted(run, order, folder)
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        if failure:
            await self._runs.fail(run, failure, self._now())
        log.info("run_ends", run_id=run.run_id, tenant_id=run.tenant_id, failure=failure.reason if failure else "")

    async def _conducted(self, run: Run, order: Order, folder: Path) -> ServiceError | None:
        """Conduct a run and keep what it makes; return why it made nothing."""
        try:
            await asyncio.to_thread(folder.mkdir, parents=True)
            async with asyncio.timeout(self._limits.run_seconds):
                await self._finish(run, order, folder)
        except RunEnded:
            return None
        except TimeoutError:
            return RunTooLong("the run took longer than a run may", seconds=self._limits.run_seconds)
        except ServiceError as error:
            return error
        except grpc.aio.AioRpcError as error:
            return CallRefused(f"a service says {error.code().name}")
        except Exception:
            # One run's fault must not end the service.
            log.exception("run_fails", run_id=run.run_id)
            return TrainingFailed("the run failed")
        return None

    async def _finish(self, run: Run, order: Order, folder: Path) -> None:
        reranker = await self._conductor.conduct(run, order, folder, Beat(self._runs, run))
        if not await self._runs.succeed(run, reranker, self._now()):
            await self._conductor.discard(reranker)
            return
        GATES.labels("passed" if reranker.report.passed else "failed").inc()


class Beat:
    """Says how far a run is, not oftener than it is looked at, and ends the work on one that was ended."""

    def __init__(self, runs: PostgresRuns, run: Run) -> None:
        self._runs = runs
        self._run = run
        self._stage = ""
        self._next = 0.0

    async def __call__(self, stage: str, progress: float) -> None:
        """Say it.

        Raises:
            RunEnded: somebody ended the run.
        """
        if stage == self._stage and time.monotonic() < self._next:
            return
        if not await self._runs.tell(self._run, stage, progress):
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
