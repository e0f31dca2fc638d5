"""Sources: made, found, listed, paused and resumed, and how their syncs went."""

from collections.abc import Callable
from datetime import datetime

from services.common.database import Sessions
from services.common.identity import Identity
from services.ingest.adapters import documents, sources
from services.ingest.adapters.documents import Page, Scope
from services.ingest.adapters.postgres import transaction
from services.ingest.domain import FILES, Counts, Source, SourceState
from services.ingest.errors import SourceNotFound

MAX_FAILURES = 20
MAX_ERROR_CHARS = 500

Counted = tuple[Source, Counts]


class Catalog:
    """The tenants' sources."""

    def __init__(self, sessions: Sessions, now: Callable[[], datetime]) -> None:
        self._sessions = sessions
        self._now = now

    async def create(self, identity: Identity, source: Source, request_id: str) -> Counted:
        """Add a source; a request that was served before gives the source that it made.

        Raises:
            SourceExists: the name is taken.
        """
        async with transaction(self._sessions) as session:
            made = await sources.served(session, identity, "create", request_id)
            if not made:
                await sources.create(session, source)
                await sources.remember(session, identity, ("create", request_id), source.source_id, self._now())
        return await self.find(identity, made or source.source_id)

    async def made(self, identity: Identity, request_id: str) -> Counted | None:
        """Return the source that a request made when it was served before."""
        async with transaction(self._sessions) as session:
            source_id = await sources.served(session, identity, "create", request_id)
        return await self.find(identity, source_id) if source_id else None

    async def find(self, identity: Identity, name_or_id: str) -> Counted:
        """Return a tenant's source with its counts.

        Raises:
            SourceNotFound: the tenant has none.
        """
        async with transaction(self._sessions) as session:
            source = await sources.find(session, identity, name_or_id)
            counts = await sources.counts(session, [source.source_id])
        return source, counts.get(source.source_id, Counts())

    async def get(self, source_id: str) -> Source:
        """Return a source of any tenant, for work that no caller asked for.

        Raises:
            SourceNotFound: it is gone.
        """
        async with transaction(self._sessions) as session:
            return await sources.get(session, source_id)

    async def page(self, identity: Identity, after: tuple[str, str], limit: int) -> list[Counted]:
        """Return a tenant's sources by name and id, those after `after`."""
        async with transaction(self._sessions) as session:
            found = await sources.page(session, identity, after, limit)
            counts = await sources.counts(session, [source.source_id for source in found])
        return [(source, counts.get(source.source_id, Counts())) for source in found]

    async def documents(self, identity: Identity, scope: Scope, after: tuple[str, str], limit: int) -> Page:
        """Return documents by external id and id: of a source ("": all) and a state (None: all)."""
        async with transaction(self._sessions) as session:
            return await documents.page(session, identity, scope, after, limit)

    async def failures(self, source: Source) -> Page:
        """Return a source's latest failures, newest first."""
        async with transaction(self._sessions) as session:
            return await documents.latest_failures(session, source.source_id, MAX_FAILURES)

    async def pause(self, identity: Identity, name_or_id: str) -> Counted:
        """Stop syncing a source.

        Raises:
            SourceNotFound: there is none, or it is being deleted.
        """
        return await self._turn(identity, name_or_id, SourceState.PAUSED)

    async def resume(self, identity: Identity, name_or_id: str) -> Counted:
        """Sync a source again.

        Raises:
            SourceNotFound: there is none, or it is being deleted.
        """
        return await self._turn(identity, name_or_id, SourceState.ACTIVE)

    async def to_sync(self) -> dict[str, Source]:
        """Return the sources of all tenants that are to be watched, or to be synced once."""
        async with transaction(self._sessions) as session:
            active = await sources.syncing(session, FILES)
        return {
            source.source_id: source
            for source in active
            if source.sync_wanted or (source.config and source.config.watch)
        }

    async def synced(self, source: Source, root: str, warning: str) -> None:
        """Note that everything in a source is recorded; `warning` says what could not be seen."""
        async with transaction(self._sessions) as session:
            await sources.change(
                session,
                source.source_id,
                sync_wanted=False,
                last_sync_at=self._now(),
                last_sync_error=warning[:MAX_ERROR_CHARS],
                root=root,
            )

    async def sync_failed(self, source: Source, why: str) -> None:
        """Note why a sync failed."""
        async with transaction(self._sessions) as session:
            await sources.change(session, source.source_id, last_sync_error=why[:MAX_ERROR_CHARS])

    async def _turn(self, identity: Identity, name_or_id: str, state: SourceState) -> Counted:
        async with transaction(self._sessions) as session:
            source = await sources.find(session, identity, name_or_id, lock=True)
            if source.state is SourceState.DELETING:
                raise SourceNotFound("the source is being deleted", source=source.name)
            if source.state is not state:
                wanted = state is SourceState.ACTIVE and source.kind == FILES
                await sources.change(session, source.source_id, state=state, sync_wanted=wanted)
        return await self.find(identity, source.source_id)
