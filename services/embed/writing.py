"""Carries out what was planned for a group of documents: in few requests, and in an order that survives a crash."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from services.common.identity import Identity
from services.embed.domain import (
    Change,
    Chunk,
    DocumentRejected,
    Indexed,
    InvalidVector,
    Outcome,
    Passage,
    Vector,
    rejection_of,
)
from services.embed.lanes import Lanes, Text
from services.embed.metrics import CHUNKS, SUSPICIOUS_CHUNKS
from services.embed.ports import PassageIndex

# A document of thousands of chunks is written as it goes, so that a crash loses little.
_WAVE = 500


@dataclass(frozen=True, slots=True)
class Draft:
    """A passage that has no vector yet; it keeps that of `stored_id`, the same text in an earlier version, if any."""

    id: str
    change: Change
    chunk: Chunk
    ordinal: int
    stored_id: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done for one document; `outcome` is what it comes to if all goes well."""

    outcome: Outcome | None
    drafts: tuple[Draft, ...] = ()
    written: tuple[Passage, ...] = ()
    stale_ids: tuple[str, ...] = ()


class Writer:
    """Embeds and writes.

    `donor` is another index of the same model: a passage of the same id has the same vector there.
    """

    def __init__(self, index: PassageIndex, lanes: Lanes, donor: PassageIndex | None = None) -> None:
        self._index = index
        self._lanes = lanes
        self._donor = donor

    async def carry_out(self, identity: Identity, plans: Sequence[Plan]) -> list[Outcome | None]:
        """Write what is planned, then remove what is stale, and return each plan's outcome.

        The first passage of each document is written after all its others: a document that
        has one is complete.
        """
        report = _Report()
        await self._write(identity, [passage for plan in plans for passage in plan.written])
        drafts = [draft for plan in plans for draft in plan.drafts]
        for first in (False, True):
            for wave in _waves([draft for draft in drafts if (draft.ordinal == 0) is first]):
                await self._write(identity, await self._passages(identity, wave, report))
        stale = [id_ for plan in plans for id_ in (*plan.stale_ids, *report.withdrawn(plan))]
        await self._index.delete(identity, stale)
        return [report.outcome_of(plan) for plan in plans]

    async def _write(self, identity: Identity, passages: Sequence[Passage]) -> None:
        heads = [passage for passage in passages if passage.ordinal == 0]
        for some in ([passage for passage in passages if passage.ordinal != 0], heads):
            if some:
                await self._index.upsert(identity, some)

    async def _passages(self, identity: Identity, drafts: Sequence[Draft], report: "_Report") -> list[Passage]:
        """Return the drafts with their vectors; a document that has a text without one is reported."""
        found = await self._found(identity, drafts)
        vectors: dict[str, Vector | InvalidVector] = dict(found)
        new = [draft for draft in drafts if draft.id not in vectors]
        embedded = await self._lanes.embed_documents(
            identity, [Text(d.chunk.embedded_text, d.chunk.tokens) for d in new]
        )
        vectors.update(zip((draft.id for draft in new), embedded, strict=True))
        report.count(len(found), new)
        passages = []
        for draft in drafts:
            vector = vectors[draft.id]
            if isinstance(vector, InvalidVector):
                report.reject(draft.change, vector)
            else:
                passages.append(Passage(draft.id, draft.change, draft.chunk, draft.ordinal, vector))
        return [passage for passage in passages if not report.is_rejected(passage.change)]

    async def _found(self, identity: Identity, drafts: Sequence[Draft]) -> dict[str, Vector]:
        """Return by draft the vectors that are there already, here or at the donor's."""
        stored = {draft.stored_id: draft.id for draft in drafts if draft.stored_id}
        here = await self._index.passages(identity, list(stored)) if stored else []
        found = {stored[passage.id]: passage.vector for passage in here}
        missing = [draft.id for draft in drafts if not draft.stored_id]
        if self._donor and missing:
            found |= {passage.id: passage.vector for passage in await self._donor.passages(identity, missing)}
        return found


class _Report:
    """What is found out about documents while they are written."""

    def __init__(self) -> None:
        self._embedded: dict[str, int] = {}
        self._rejected: dict[str, DocumentRejected] = {}

    def count(self, reused: int, new: Sequence[Draft]) -> None:
        CHUNKS.labels("reused").inc(reused)
        CHUNKS.labels("embedded").inc(len(new))
        for draft in new:
            for reason in draft.chunk.suspicions:
                SUSPICIOUS_CHUNKS.labels(reason).inc()
            self._embedded[draft.change.document_id] = self._embedded.get(draft.change.document_id, 0) + 1

    def reject(self, change: Change, error: DocumentRejected) -> None:
        self._rejected[change.document_id] = error

    def is_rejected(self, change: Change) -> bool:
        return change.document_id in self._rejected

    def withdrawn(self, plan: Plan) -> Iterator[str]:
        if plan.drafts and self.is_rejected(plan.drafts[0].change):
            yield from (draft.id for draft in plan.drafts)

    def outcome_of(self, plan: Plan) -> Outcome | None:
        if not plan.drafts or not isinstance(plan.outcome, Indexed):
            return plan.outcome
        change = plan.drafts[0].change
        if change.document_id in self._rejected:
            return rejection_of(change, self._rejected[change.document_id])
        return replace(plan.outcome, embedded_count=self._embedded.get(change.document_id, 0))


def _waves(drafts: Sequence[Draft]) -> Iterator[Sequence[Draft]]:
    for start in range(0, len(drafts), _WAVE):
        yield drafts[start : start + _WAVE]
