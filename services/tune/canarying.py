"""Looks at canaries as records come, and moves their aliases as the rule says."""

import asyncio
import contextlib
from collections.abc import Callable
from datetime import datetime

import structlog

from services.common.errors import ServiceError
from services.common.faults import described
from services.tune.adapters.aliases import Ending, PostgresAliases
from services.tune.adapters.canaries import PostgresCanaries
from services.tune.domain.canaries import Canary, CanaryState, Decision
from services.tune.domain.errors import StoreUnavailable
from services.tune.domain.registry import CANARY_SUBJECT, Change
from services.tune.registry_metrics import DECISIONS

LOOK_SECONDS = 5.0
_STATES = {
    Decision.PROMOTE: CanaryState.PROMOTED,
    Decision.ROLLBACK: CanaryState.ROLLED_BACK,
    Decision.KEEP_OLD: CanaryState.EXPIRED,
}

log = structlog.get_logger()


class CanaryWatcher:
    """Decides on the canaries of all tenants; of several replicas one does."""

    def __init__(self, canaries: PostgresCanaries, aliases: PostgresAliases, now: Callable[[], datetime]) -> None:
        self._canaries = canaries
        self._aliases = aliases
        self._now = now
        self._counted = asyncio.Event()

    def wake(self) -> None:
        """Tell that something was counted."""
        self._counted.set()

    async def run(self, every_seconds: float = LOOK_SECONDS) -> None:
        """Look for ever."""
        while True:
            self._counted.clear()
            try:
                await self.look()
            except StoreUnavailable as error:
                log.warning("canaries_wait_for_the_database", error=described(error))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(every_seconds):
                    await self._counted.wait()
            # Records come in batches: under load one look is for many.
            await asyncio.sleep(min(1.0, every_seconds))

    async def look(self) -> None:
        """Look at every canary once, and do what the rule says.

        Raises:
            StoreUnavailable: the database cannot be reached.
        """
        async with self._canaries.deciding() as is_ours:
            if not is_ours:
                return
            for tenant_id, canary in await self._canaries.running():
                try:
                    await self._decide(tenant_id, canary)
                except StoreUnavailable:
                    raise
                except ServiceError as error:
                    # Somebody has ended it, or taken the alias away, in the meantime.
                    log.info("canary_was_ended", canary_id=canary.canary_id, reason=error.reason)

    async def _decide(self, tenant_id: str, canary: Canary) -> None:
        look = await self._canaries.look(tenant_id, canary, self._now())
        if look.decision is Decision.CONTINUE:
            await self._canaries.keep(tenant_id, canary, look)
            return
        ending = Ending(_STATES[look.decision], canary.canary_id, look)
        change = Change(CANARY_SUBJECT, look.reason)
        await self._aliases.end_canary(tenant_id, canary.alias, ending, change)
        DECISIONS.labels(look.decision.value).inc()
        log.info(
            "canary_decided",
            tenant_id=tenant_id,
            alias=canary.alias,
            canary_id=canary.canary_id,
            decision=look.decision.value,
        )
