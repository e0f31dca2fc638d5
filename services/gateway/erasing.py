"""Carries erasures through, whatever happens meanwhile: round after round over all services, until nothing is left."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import grpc
import structlog
from sqlalchemy.exc import DBAPIError

from services.common.faults import described
from services.gateway.adapters.erasers import Eraser
from services.gateway.adapters.erasures import PostgresErasures
from services.gateway.adapters.services import ServiceUnavailable
from services.gateway.domain.erasures import Erasure, Removal
from services.gateway.ports import StoreUnavailable

AT_ONCE = 4

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Pace:
    """How long it waits between rounds, and after the last key of a tenant until nobody can use it any more."""

    round_seconds: float = 0.5
    last_key_seconds: float = 1.5


class ErasureRunner:
    """Works on whatever erasure is not done; several replicas share the work, each step done by one of them.

    `erasers` are in the order in which data flows: of a tenant, each is asked once those before it
    have nothing left.
    """

    def __init__(
        self,
        erasures: PostgresErasures,
        erasers: Sequence[Eraser],
        now: Callable[[], datetime],
        pace: Pace = Pace(),
    ) -> None:
        self._erasures = erasures
        self._erasers = erasers
        self._now = now
        self._pace = pace
        self._begun = asyncio.Event()
        self._places = asyncio.Semaphore(AT_ONCE)

    def wake(self) -> None:
        """Tell that an erasure has begun."""
        self._begun.set()

    async def run(self) -> None:
        """Work for ever."""
        while True:
            self._begun.clear()
            try:
                await self.look()
            except* StoreUnavailable:
                log.warning("erasures_wait_for_the_database")
            except* DBAPIError as errors:
                # Such as a deadlock with who writes the directory meanwhile: the next look tries again.
                log.warning("erasure_tried_again", error=described(errors.exceptions[0]))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pace.round_seconds):
                    await self._begun.wait()

    async def look(self) -> None:
        """Take each erasure that is not done a round further."""
        async with asyncio.TaskGroup() as group:
            for erasure_id in await self._erasures.unfinished():
                group.create_task(self._advance(erasure_id))

    async def _advance(self, erasure_id: str) -> None:
        async with self._places:
            if not await self._round(erasure_id):
                return
            if await self._shut_out(erasure_id):
                # What came in by the last key until now must go too.
                await asyncio.sleep(self._pace.last_key_seconds)
                if not await self._round(erasure_id):
                    return
            await self._finish(erasure_id)

    async def _round(self, erasure_id: str) -> bool:
        """Have every service erase once, and return whether none has anything left."""
        done = True
        for eraser in self._erasers:
            async with self._erasures.claim(erasure_id) as claim:
                if claim is None:
                    return False
                removal = await _erased(eraser, claim.erasure)
                await claim.add(removal)
                if claim.erasure.is_of_tenant and not removal.done:
                    return False
            done = done and removal.done
        return done

    async def _shut_out(self, erasure_id: str) -> bool:
        """Revoke the last key of a tenant; return whether it is a tenant's erasure."""
        async with self._erasures.claim(erasure_id) as claim:
            if claim is None or not claim.erasure.is_of_tenant:
                return False
            await claim.revoke_keys()
            return True

    async def _finish(self, erasure_id: str) -> None:
        async with self._erasures.claim(erasure_id) as claim:
            if claim is None:
                return
            await claim.finish(self._now())
        log.info("erased", erasure_id=erasure_id, removed=dict(claim.erasure.removed))


async def _erased(eraser: Eraser, erasure: Erasure) -> Removal:
    """Return what a service removed; one that is away, or cannot, is asked again in the next round."""
    try:
        return await eraser.erase(erasure)
    except ServiceUnavailable:
        log.warning("erasure_waits", service=eraser.service, erasure_id=erasure.erasure_id)
    except grpc.aio.AioRpcError as error:
        log.warning("erasure_fails", service=eraser.service, erasure_id=erasure.erasure_id, code=error.code().name)
    return Removal({})
