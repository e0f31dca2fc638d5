"""Builds indexes beside live ones, and turns to them: a look a second, each of which may be the last of a process."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from services.common.database import Sessions
from services.common.errors import ServiceError
from services.common.identity import Identity
from services.common.indexes import DROPPABLE_SECONDS, IndexState, Made
from services.ingest.adapters import indexes
from services.ingest.adapters.postgres import transaction
from services.ingest.indexes import (
    Counts,
    Deployment,
    Owned,
    Wanted,
    begun,
    built,
    config_of,
    dropped,
    reverted,
    settled,
    switched,
)
from services.ingest.manifest import Manifest

LOOK_SECONDS = 1.0
# Until every service has seen that a build has begun; what is listed before then might be written to the live one only.
SEEN_SECONDS = 1.0
# Documents on their way at once: a tenant's own changes wait behind them.
WINDOW = 50

# Asks embed what it can do; raises DeploymentUnknown.
Deployed = Callable[[str], Awaitable[Deployment]]
# Has the tenant's index of a key removed from every place; raises ServiceError when that cannot be done now.
Drop = Callable[[str, str], Awaitable[None]]

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Progress:
    """A tenant's indexes with how the live one is made, and how far the other one is."""

    owned: Owned
    live: Made
    counts: Counts


class Indexes:
    """Which indexes tenants have, and shall have."""

    def __init__(self, sessions: Sessions, manifest: Manifest, deployed: Deployed) -> None:
        self._sessions = sessions
        self._manifest = manifest
        self._deployed = deployed

    async def progress(self, identity: Identity) -> Progress:
        """Return the tenant's indexes.

        Raises:
            DeploymentUnknown: embed does not say how an index is made by default.
        """
        async with transaction(self._sessions) as session:
            owned = await indexes.find(session, identity.tenant_id)
            counts = await indexes.counts(session, identity.tenant_id) if owned.other else Counts()
        live = owned.live or (await self._deployed(identity.tenant_id)).default
        return Progress(owned, live, counts)

    async def build(self, identity: Identity, wanted: Wanted) -> Progress:
        """Begin to build another index; a repeat changes nothing.

        Raises:
            DeploymentUnknown, ModelUnknown, InvalidIndexConfig, IndexSame, IndexBuildUnderWay.
        """
        deployment = await self._deployed(identity.tenant_id)
        async with transaction(self._sessions) as session:
            owned = await indexes.lock(session, identity.tenant_id)
            live = owned.live or deployment.default
            after = begun(owned, live, config_of(live.config, wanted, deployment))
            if after is not owned:
                await indexes.forget_builds(session, identity.tenant_id)
                await indexes.save(session, after)
        return await self.progress(identity)

    async def switch(self, identity: Identity, *, accept_failed: bool) -> Progress:
        """Make the other index the live one; a repeat changes nothing.

        Raises:
            IndexNotReady: it is not built, or documents failed in it.
        """
        async with transaction(self._sessions) as session:
            owned = await indexes.lock(session, identity.tenant_id)
            failed = (await indexes.counts(session, identity.tenant_id)).failed
            await self._turn(session, owned, switched(owned, failed, accept_failed=accept_failed))
        return await self.progress(identity)

    async def revert(self, identity: Identity) -> Progress:
        """Make the earlier index the live one again; a repeat changes nothing.

        Raises:
            IndexNotKept: there is none.
        """
        async with transaction(self._sessions) as session:
            owned = await indexes.lock(session, identity.tenant_id)
            await self._turn(session, owned, reverted(owned))
        return await self.progress(identity)

    async def drop(self, identity: Identity) -> Progress:
        """Begin to remove the other index; a repeat changes nothing."""
        async with transaction(self._sessions) as session:
            owned = await indexes.lock(session, identity.tenant_id)
            if (after := dropped(owned)) is not owned:
                await indexes.save(session, after)
        return await self.progress(identity)

    async def _turn(self, session: AsyncSession, before: Owned, after: Owned) -> None:
        """Write a switch; what either index could not hold is tried again, for the other one may."""
        if after is before:
            return
        await indexes.save(session, after)
        failed = await indexes.failed_ids(session, after.tenant_id)
        await indexes.exchange_counts(session, after.tenant_id)
        await self._manifest.replay_failed(session, after.tenant_id)
        await self._manifest.renew(session, failed)
        log.info("index_turned", tenant=after.tenant_id, key=after.live.key if after.live else "")


class Builder:
    """Brings every build and every drop one step further."""

    def __init__(self, sessions: Sessions, manifest: Manifest, drop: Drop, patience: timedelta) -> None:
        self._sessions = sessions
        self._manifest = manifest
        self._drop = drop
        self._patience = patience

    async def run(self) -> None:
        """Look for ever."""
        while True:
            try:
                await self.look()
            except ServiceError as error:
                log.warning("builder_waits", reason=error.reason)
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Bring each one step further; what cannot be done for one tenant holds up no other."""
        async with transaction(self._sessions) as session:
            tenants = await indexes.unsettled(session)
        for tenant_id in tenants:
            try:
                await self._step(tenant_id)
            except ServiceError as error:
                log.warning("index_waits", tenant=tenant_id, reason=error.reason)

    async def _step(self, tenant_id: str) -> None:
        async with transaction(self._sessions) as session:
            owned = await indexes.find(session, tenant_id)
        if owned.state is IndexState.BUILDING and owned.seconds > SEEN_SECONDS:
            await self._build(tenant_id)
        elif owned.state is IndexState.DROPPING and owned.seconds > DROPPABLE_SECONDS and owned.other:
            await self._drop(tenant_id, owned.other.key)
            await self._settle(owned)

    async def _build(self, tenant_id: str) -> None:
        """List what is to be built, once; give embed the next documents; be ready when it has them all."""
        async with transaction(self._sessions) as session:
            owned = await indexes.lock(session, tenant_id)
            if owned.state is not IndexState.BUILDING:
                return
            if not owned.listed:
                await indexes.list_documents(session, tenant_id)
            ids = await indexes.next_to_send(session, tenant_id, WINDOW, self._patience)
            await self._manifest.repeat(session, ids)
            await indexes.note_sent(session, ids)
            counts = await indexes.counts(session, tenant_id)
            if counts.done == counts.documents:
                await indexes.save(session, built(owned))
                log.info("index_built", tenant=tenant_id, documents=counts.documents, failed=counts.failed)

    async def _settle(self, gone: Owned) -> None:
        async with transaction(self._sessions) as session:
            owned = await indexes.lock(session, gone.tenant_id)
            if (owned.state, owned.other) == (IndexState.DROPPING, gone.other):
                await indexes.forget_builds(session, gone.tenant_id)
                await indexes.save(session, settled(owned))
                log.info("index_dropped", tenant=gone.tenant_id)
