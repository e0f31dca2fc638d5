"""Who may read: the readers of sources, and of documents that have their own."""

from collections.abc import Mapping
from dataclasses import replace

from services.common.database import Sessions
from services.common.identity import Identity
from services.ingest.adapters import documents, sources
from services.ingest.adapters.postgres import transaction
from services.ingest.domain import DocumentState, Source, SourceState, permit
from services.ingest.errors import SourceNotFound
from services.ingest.steps import Step, Steps

BATCH = 1000
# Of all documents of a batch together.
BATCH_READERS = 200_000


class Acl:
    """Sets readers. What is taken from somebody is taken with the commit."""

    def __init__(self, sessions: Sessions, steps: Steps) -> None:
        self._sessions = sessions
        self._steps = steps

    async def set_source(self, identity: Identity, name: str, readers: tuple[str, ...]) -> tuple[Source, int]:
        """Set who may read a source's documents that have no readers of their own; return how many changed.

        No readers are its owner alone.

        Raises:
            SourceNotFound: the tenant has none, or it is being deleted.
        """
        received_at, done = self._steps.now(), list[Step]()
        async with transaction(self._sessions) as session:
            before = await sources.find(session, identity, name, lock=True)
            if before.state is SourceState.DELETING:
                raise SourceNotFound("the source is being deleted", source=before.name)
            source = replace(before, readers=readers or only(before.owner))
            await sources.change(session, source.source_id, readers=list(source.readers))
            batch = max(1, min(BATCH, BATCH_READERS // max(len(before.readers), len(source.readers), 1)))
            while rows := await documents.lock_following(session, source, batch):
                steps: list[Step] = [
                    (row, permit(row, source.readers, received_at, follows_source=True)) for row in rows
                ]
                await self._steps.write(session, steps, {source.source_id: source})
                done += steps
        self._steps.committed(done, received_at)
        return source, len(done)

    async def set_documents(
        self, identity: Identity, name: str, wanted: Mapping[str, tuple[str, ...]]
    ) -> tuple[int, list[str]]:
        """Set who may read pushed documents, by external id; return how many changed, and which are not there.

        A document without readers follows its source.

        Raises:
            SourceNotFound, NotAPushSource: there is nothing whose readers can be set.
        """
        received_at = self._steps.now()
        async with transaction(self._sessions) as session:
            source = await sources.find_push(session, identity, name)
            found = await documents.lock(session, source.source_id, wanted)
            rows = {key: row for key, row in found.items() if row.state is not DocumentState.DELETING}
            steps: list[Step] = [
                (row, permit(row, wanted[key] or source.readers, received_at, follows_source=not wanted[key]))
                for key, row in rows.items()
            ]
            await self._steps.write(session, steps, {source.source_id: source})
        self._steps.committed(steps, received_at)
        changed = sum(before is not None and before.draft.readers != after.draft.readers for before, after in steps)
        return changed, [key for key in wanted if key not in rows]


def only(owner: str) -> tuple[str, ...]:
    """Return the readers of what is its owner's alone; of what is nobody's, nobody."""
    return (owner,) if owner else ()
