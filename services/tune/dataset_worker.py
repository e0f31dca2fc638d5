"""Works on builds of data sets that wait: one of a tenant at a time, of as many tenants as the deployment allows."""

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
from services.tune.adapters.dataset_builder import build_in_process
from services.tune.adapters.datasets import PostgresBuilds, PostgresDatasets
from services.tune.datasets.errors import BuildFailed, BuildTooLong
from services.tune.datasets.parameters import BuildOrder
from services.tune.datasets.store import Datasets
from services.tune.domain.datasets import DatasetBuild
from services.tune.domain.errors import CallRefused, RunEnded
from services.tune.gathering import Gatherer
from services.tune.metrics import BUILDS
from services.tune.turns import Turns
from services.tune.worker import BEAT_SECONDS, Limits

PUBLISHING = "publishing"

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Books:
    """Where builds, and what they make, are kept."""

    builds: PostgresBuilds
    datasets: PostgresDatasets
    store: Datasets


class BuildWorker:
    """Takes builds from the store and works on them in folders below `cache`; several replicas share the work."""

    def __init__(
        self, books: Books, gatherer: Gatherer, cache: Path, now: Callable[[], datetime], limits: Limits
    ) -> None:
        self._books = books
        self._gatherer = gatherer
        self._cache = cache
        self._now = now
        self._limits = limits
        self._turns = Turns("dataset build", books.builds.waiting_tenants, self._serve, limits.at_once)

    def wake(self) -> None:
        """Tell that a build waits."""
        self._turns.wake()

    async def run(self) -> None:
        """Work for ever."""
        await self._turns.run(self._sweep)

    async def _sweep(self) -> None:
        """Remove what a process that was killed left behind."""
        await asyncio.to_thread(shutil.rmtree, self._cache, ignore_errors=True)

    async def _serve(self, tenant_id: str) -> None:
        """Work on a tenant's oldest build, unless another replica works on one of the tenant."""
        async with self._books.builds.claim(tenant_id, self._now()) as claimed:
            if claimed:
                await self._work(*claimed)

    async def _work(self, build: DatasetBuild, order: BuildOrder) -> None:
        log.info("dataset_build_begins", build_id=build.build_id, tenant_id=build.tenant_id)
        folder = self._cache / build.build_id
        try:
            failure = await self._worked(build, order, folder)
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        if failure:
            BUILDS.labels("failed").inc()
            await self._books.builds.fail(build, failure, self._now())
        if order.upload:
            await self._forget(build, order)
        reason = failure.reason if failure else ""
        log.info("dataset_build_ends", build_id=build.build_id, tenant_id=build.tenant_id, failure=reason)

    async def _worked(self, build: DatasetBuild, order: BuildOrder, folder: Path) -> ServiceError | None:
        """Build, and keep what comes of it; return why nothing did."""
        try:
            await asyncio.to_thread(folder.mkdir, parents=True)
            async with asyncio.timeout(self._limits.run_seconds):
                await self._finish(build, order, folder)
        except RunEnded:
            return None
        except TimeoutError:
            return BuildTooLong("the build took longer than a build may", seconds=self._limits.run_seconds)
        except ServiceError as error:
            return error
        except grpc.aio.AioRpcError as error:
            return CallRefused(f"a service says {error.code().name}")
        except Exception:
            # One build's fault must not end the service.
            log.exception("dataset_build_fails", build_id=build.build_id)
            return BuildFailed("the build failed")
        return None

    async def _finish(self, build: DatasetBuild, order: BuildOrder, folder: Path) -> None:
        beat = BuildBeat(self._books.builds, build)
        await self._gatherer.gather(order, folder, beat)
        made = await build_in_process(folder, beat)
        await beat(PUBLISHING, 0.0)
        card = await self._books.store.publish(build.tenant_id, made)
        if await self._books.builds.succeed(build, card, self._now()):
            BUILDS.labels("fit" if card.fit else "unfit").inc()
        elif not await self._books.datasets.has(build.tenant_id, card.digest):
            # Somebody ended it, or erased who is in it, and the same was not there before.
            await self._books.store.remove(build.tenant_id, card.digest)

    async def _forget(self, build: DatasetBuild, order: BuildOrder) -> None:
        with contextlib.suppress(ServiceError):
            await self._books.store.remove_upload(build.tenant_id, order.upload)


class BuildBeat:
    """Says how far a build is, not oftener than it is looked at, and ends the work on one that was ended."""

    def __init__(self, builds: PostgresBuilds, build: DatasetBuild) -> None:
        self._builds = builds
        self._build = build
        self._stage = ""
        self._next = 0.0

    async def __call__(self, stage: str, progress: float) -> None:
        """Say it.

        Raises:
            RunEnded: somebody ended the build.
        """
        if stage == self._stage and time.monotonic() < self._next:
            return
        if not await self._builds.tell(self._build, stage, progress):
            raise RunEnded
        self._stage, self._next = stage, time.monotonic() + BEAT_SECONDS
