"""Removes what ingest has of a person, or of a whole tenant, in steps that may be repeated."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from services.common.blobs import Blobs
from services.common.database import Sessions
from services.common.identity import Identity
from services.ingest.acl import Acl, only
from services.ingest.adapters import blobs, erasing
from services.ingest.adapters.postgres import transaction
from services.ingest.domain import Document, Source, permit
from services.ingest.errors import ContentsUnavailable
from services.ingest.manifest import Manifest
from services.ingest.steps import Step, Steps
from services.ingest.sweeper import Sweeper

BATCH = 500

DOCUMENTS = "documents"
CHUNKS = "chunks"
BLOBS = "blobs"
READERS = "readers"
SOURCES = "sources"

Principals = Sequence[str]


@dataclass(frozen=True, slots=True)
class Erased:
    """What one call removed, by kind; `done` when nothing is left, here or in the index."""

    removed: Counter[str]
    done: bool


@dataclass(frozen=True, slots=True)
class Tools:
    """What an erasure works with."""

    manifest: Manifest
    acl: Acl
    sweeper: Sweeper
    store: Blobs


class Erasure:
    """Erases a bit at each call. Deletions are done when the index has answered, and contents are swept."""

    def __init__(self, sessions: Sessions, steps: Steps, tools: Tools) -> None:
        self._sessions = sessions
        self._steps = steps
        self._tools = tools

    async def person(self, identity: Identity, person: Principals) -> Erased:
        """Remove a person: their sources and documents, and their names from every list of readers.

        A source of theirs that others may read stays, with its documents; nobody owns it then.

        Raises:
            ContentsUnavailable: the blob store does not answer.
        """
        removed: Counter[str] = Counter()
        async with transaction(self._sessions) as session:
            found = await erasing.sources_of(session, identity, person)
        for source in found:
            removed += await self._leave(identity, source, person)
        while step := await self._retire(identity, person):
            removed += step
        while taken := await self._take_out(identity, person):
            removed[READERS] += taken
        await self._tools.sweeper.sweep(identity.tenant_id)
        async with transaction(self._sessions) as session:
            owed = await erasing.left_of(session, identity, person)
        if owed:
            # Of a set that was left nobody has need once the index has answered.
            await self._tools.sweeper.sweep_sets(identity.tenant_id)
        async with transaction(self._sessions) as session:
            left = await erasing.left_of(session, identity, person)
            left += await blobs.count_doubted(session, identity.tenant_id)
        return Erased(removed, left == 0)

    async def tenant(self, identity: Identity) -> Erased:
        """Remove everything of the caller's tenant.

        Raises:
            ContentsUnavailable: the blob store does not answer.
        """
        removed: Counter[str] = Counter()
        async with transaction(self._sessions) as session:
            found = await erasing.sources_of(session, identity, None)
        for source in found:
            removed += await self._delete(identity, source)
        if not await self._has_documents(identity):
            removed += await self._rest(identity)
        async with transaction(self._sessions) as session:
            left = await erasing.left_in(session, identity)
        return Erased(removed, left == 0)

    async def _leave(self, identity: Identity, source: Source, person: Principals) -> Counter[str]:
        """Remove a source that is the person's alone, or the person from it."""
        owned = source.owner in person
        if set(source.readers) <= set(person) and (owned or not source.owner):
            return await self._delete(identity, source)
        if owned:
            async with transaction(self._sessions) as session:
                await erasing.disown(session, source, person)
        others = tuple(reader for reader in source.readers if reader not in person)
        if others == source.readers:
            return Counter()
        _, changed = await self._tools.acl.set_source(identity, source.source_id, others or only(source.owner))
        return Counter({READERS: (len(source.readers) - len(others)) * (changed + 1)})

    async def _delete(self, identity: Identity, source: Source) -> Counter[str]:
        async with transaction(self._sessions) as session:
            counted = await erasing.size_of(session, source)
        await self._tools.manifest.delete_source(identity, source.source_id)
        return Counter(counted) + Counter({SOURCES: 1})

    async def _retire(self, identity: Identity, person: Principals) -> Counter[str]:
        received_at = self._steps.now()
        async with transaction(self._sessions) as session:
            rows = await erasing.lock_theirs(session, identity, person, BATCH)
            steps = self._steps.retired(rows)
            await self._steps.write(session, steps, await erasing.sources_by_id(session, rows))
            lost = await erasing.only_in(session, rows) if rows else 0
        self._steps.committed(steps, received_at)
        return +Counter({DOCUMENTS: len(rows), CHUNKS: sum(row.chunk_count for row in rows), BLOBS: lost})

    async def _take_out(self, identity: Identity, person: Principals) -> int:
        """Take a person out of some documents' readers; return how many entries that were."""
        received_at = self._steps.now()
        async with transaction(self._sessions) as session:
            rows = await erasing.lock_read(session, identity, person, BATCH)
            steps: list[Step] = [(row, self._without(row, person)) for row in rows]
            await self._steps.write(session, steps, await erasing.sources_by_id(session, rows))
        self._steps.committed(steps, received_at)
        return sum(len(set(row.draft.readers) & set(person)) for row in rows)

    def _without(self, row: Document, person: Principals) -> Document:
        others = tuple(reader for reader in row.draft.readers if reader not in person)
        return permit(row, others, self._steps.now(), follows_source=row.draft.follows_source)

    async def _has_documents(self, identity: Identity) -> bool:
        async with transaction(self._sessions) as session:
            return await erasing.has_documents(session, identity)

    async def _rest(self, identity: Identity) -> Counter[str]:
        """Remove what is beside documents; what lies in the store without a row is given one, and swept."""
        store, sweeper = self._tools.store, self._tools.sweeper
        try:
            keys = await store.keys(identity.tenant_id)
        except OSError as error:
            raise ContentsUnavailable("the contents cannot be listed") from error
        async with transaction(self._sessions) as session:
            removed = Counter(await erasing.remove_rest(session, identity))
            await blobs.doubt_orphans(session, self._steps.now(), identity.tenant_id)
            await blobs.doubt_strays(session, identity.tenant_id, keys, self._steps.now())
        await sweeper.sweep(identity.tenant_id)
        await store.remove_folder(identity.tenant_id)
        return +removed
