"""Writes rows of the manifest with all that goes with them: records, sets of readers, and the contents' rows."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from services.common.outbox import Outbox
from services.ingest import metrics
from services.ingest.adapters import blobs, documents, readers
from services.ingest.adapters.messages import changed_record
from services.ingest.domain import Document, Source, narrows, retire

Step = tuple[Document | None, Document]  # a row as it was, and as it is now


class Steps:
    """Takes rows from one state to the next, in the caller's transaction. `swept` wakes who removes contents."""

    def __init__(self, outbox: Outbox, now: Callable[[], datetime], swept: Callable[[], None] = lambda: None) -> None:
        self._outbox = outbox
        self._swept = swept
        self.now = now

    def retired(self, rows: Iterable[Document]) -> list[Step]:
        """Return the steps that delete documents."""
        return [(row, gone) for row in rows if (gone := retire(row, self.now())) is not row]

    async def write(
        self,
        session: AsyncSession,
        steps: Sequence[Step],
        sources: Mapping[str, Source],
        removed: Sequence[Document] = (),
    ) -> None:
        """Write the steps, and remove rows; `sources` are the rows'.

        Raises:
            ContentsUnavailable: a content has gone since it was put.
        """
        changed = [(before, after) for before, after in steps if after != before]
        await _keep_sets(session, changed)
        await blobs.refer(session, _needed(changed), _left(changed, removed))
        await documents.save(session, [after for _, after in changed])
        await documents.remove(session, [row.document_id for row in removed])
        news = [
            after for before, after in steps if after.awaiting and after.version != (before.version if before else 0)
        ]
        await self.publish(session, news, sources)

    async def publish(self, session: AsyncSession, rows: Iterable[Document], sources: Mapping[str, Source]) -> None:
        """Give the log the state of rows."""
        await self._outbox.add(session, [changed_record(row, sources[row.source_id]) for row in rows])

    def committed(self, steps: Iterable[Step], received_at: datetime | None = None) -> None:
        """Tell of what was committed; `received_at` is when it came that somebody may read it no more."""
        self._outbox.wake()
        self._swept()
        narrowed = False
        for before, after in steps:
            narrowed = narrowed or narrows(before, after)
            if before is None or before.state != after.state:
                metrics.DOCUMENTS.labels(after.state.value).inc()
        if narrowed and received_at:
            metrics.REVOCATION.labels("manifest").observe((self.now() - received_at).total_seconds())


async def _keep_sets(session: AsyncSession, steps: Iterable[Step]) -> None:
    lists: defaultdict[str, set[tuple[str, ...]]] = defaultdict(set)
    for before, after in steps:
        if readers.set_of(after.draft.readers) and (before is None or before.draft.readers != after.draft.readers):
            lists[after.tenant_id].add(after.draft.readers)
    for tenant_id, some in lists.items():
        await readers.keep(session, tenant_id, some)


def _needed(steps: Iterable[Step]) -> dict[str, int]:
    """Return the contents that rows refer to for the first time, with their generations."""
    return {
        after.draft.blob_key: after.draft.blob_generation
        for before, after in steps
        if after.draft.blob_key and (before is None or after.draft.blob_key not in before.contents)
    }


def _left(steps: Iterable[Step], removed: Iterable[Document]) -> set[str]:
    """Return the contents that rows refer to no more."""
    left = {key for before, after in steps if before for key in before.contents - after.contents}
    return left.union(*(row.contents for row in removed))
