"""Brings changes into the index of wherever each tenant is, and while it moves, into the other place too."""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Protocol, TypeVar

from services.common.errors import Unavailable
from services.common.identity import Identity, system
from services.common.placements import Placement
from services.embed.domain import Change, Outcome, Passage
from services.embed.indexing import Indexer, Reader
from services.embed.lanes import Lanes
from services.embed.mirroring import mirror
from services.embed.ports import PassageIndex
from services.embed.writing import Writer

_PART = "embed"

T = TypeVar("T")


class PlaceChanged(Unavailable):
    """The tenant has moved while its documents were written; they are written again, where it is now."""

    reason = "PLACE_CHANGED"


class Whereabouts(Protocol):
    """Says where tenants are."""

    async def of(self, identity: Identity) -> Placement:
        """Return where the tenant is, as it was at most half a second ago; raise Unavailable if it cannot be told."""


class Indexes(Protocol):
    """The index of each place."""

    def names(self, identity: Identity) -> list[str]:
        """Return the places that the tenant may be in."""

    def of(self, identity: Identity, place: str) -> PassageIndex:
        """Return the index of a place; raise Unavailable where the tenant can be in none such."""


class PlacedIndexer:
    """Makes the index of each tenant's place say what changes say, and its other one the same while it moves."""

    def __init__(self, indexes: Indexes, placements: Whereabouts, reader: Reader, lanes: Lanes) -> None:
        self._indexes = indexes
        self._placements = placements
        self._reader = reader
        self._lanes = lanes

    async def index(self, changes: Sequence[Change]) -> list[Outcome | None]:
        """Return what became of each change; see Indexer.index.

        Raises:
            Unavailable: trying all of it again may help.
        """
        tenants: dict[str, list[Change]] = defaultdict(list)
        for change in changes:
            tenants[change.tenant_id].append(change)
        outcomes: dict[tuple[str, str], Outcome | None] = {}
        for tenant_id, some in tenants.items():
            became = await self._in_place(system(tenant_id, _PART), some, partial(_index, some))
            outcomes.update(zip((change.key for change in some), became, strict=True))
        return [outcomes[change.key] for change in changes]

    async def withdraw(self, change: Change) -> None:
        """Remove what is stored of a document whose newest version cannot be indexed."""
        await self._in_place(system(change.tenant_id, _PART), [change], lambda indexer: indexer.withdraw(change))

    async def _in_place(
        self, identity: Identity, changes: Iterable[Change], work: Callable[[Indexer], Awaitable[T]]
    ) -> T:
        place = (await self._placements.of(identity)).place
        index = GuardedIndex(self._indexes.of(identity, place), lambda: self._check(identity, place))
        done = await work(Indexer(index, self._reader, Writer(index, self._lanes)))
        await self._mirror(identity, index, [change.document_id for change in changes])
        return done

    async def _mirror(self, identity: Identity, index: "GuardedIndex", document_ids: Sequence[str]) -> None:
        """Bring the other place up to what was written, if there is one now."""
        await index.check()
        placement = await self._placements.of(identity)
        if placement.mirrored:
            other = placement.other_place
            copy = GuardedIndex(self._indexes.of(identity, other), lambda: self._check_mirrored(identity, placement))
            await mirror(identity, document_ids, index, copy)

    async def _check(self, identity: Identity, place: str) -> None:
        if (await self._placements.of(identity)).place != place:
            raise PlaceChanged("the tenant is elsewhere now")

    async def _check_mirrored(self, identity: Identity, before: Placement) -> None:
        now = await self._placements.of(identity)
        if (now.place, now.other_place, now.mirrored) != (before.place, before.other_place, True):
            raise PlaceChanged("the tenant's move has gone on")


async def _index(changes: Sequence[Change], indexer: Indexer) -> list[Outcome | None]:
    return await indexer.index(changes)


class GuardedIndex:
    """A PassageIndex that is not written to once `check` raises: a place that was left stays empty."""

    def __init__(self, index: PassageIndex, check: Callable[[], Awaitable[None]]) -> None:
        self._index = index
        self.check = check
        self.ping, self.stored, self.passages = index.ping, index.stored, index.passages

    async def upsert(self, identity: Identity, passages: Sequence[Passage]) -> None:
        """Write passages."""
        await self.check()
        await self._index.upsert(identity, passages)

    async def delete(self, identity: Identity, ids: Sequence[str]) -> None:
        """Remove passages."""
        await self.check()
        await self._index.delete(identity, ids)

    async def drop(self, identity: Identity) -> int:
        """Remove everything of the tenant."""
        await self.check()
        return await self._index.drop(identity)
