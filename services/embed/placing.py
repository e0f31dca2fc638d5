"""Brings changes into every index of each tenant: the live one and the one beside it, wherever the tenant is.

While a tenant moves, each of them is made the same in the other place.
"""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from services.common.errors import Unavailable
from services.common.identity import Identity, system
from services.common.indexes import Made, TenantIndex
from services.common.placements import Placement
from services.embed.domain import Beside, Change, Failed, Indexed, Outcome, Passage, Result
from services.embed.indexing import Indexer
from services.embed.mirroring import mirror
from services.embed.models import ModelUnavailable
from services.embed.ports import PassageIndex
from services.embed.recipes import Recipe, Recipes
from services.embed.writing import Writer

_PART = "embed"
INTERNAL = "INTERNAL"

log = structlog.get_logger()


class PlaceChanged(Unavailable):
    """The tenant has moved while its documents were written; they are written again, where it is now."""

    reason = "PLACE_CHANGED"


class IndexChanged(Unavailable):
    """The tenant's indexes have changed while its documents were written; they are written again, as it is now."""

    reason = "INDEX_CHANGED"


class Whereabouts(Protocol):
    """Says where tenants are."""

    async def of(self, identity: Identity) -> Placement:
        """Return where the tenant is, as it was at most half a second ago; raise Unavailable if it cannot be told."""


class Configurations(Protocol):
    """Says which indexes tenants have."""

    async def of(self, identity: Identity) -> TenantIndex:
        """Return the tenant's indexes, as of at most half a second ago; raise Unavailable if it cannot be told."""


class Indexes(Protocol):
    """The indexes of each place."""

    def names(self, identity: Identity) -> list[str]:
        """Return the places that the tenant may be in."""

    def of(self, identity: Identity, place: str, recipe: Recipe) -> PassageIndex:
        """Return the index of a place that a recipe makes; raise Unavailable where the tenant can be in none such."""

    async def drop(self, identity: Identity, place: str, key: str | None = None) -> int:
        """Remove the tenant's index of a key from a place, or all of it; return how many passages that was."""


@dataclass(frozen=True, slots=True)
class Registry:
    """What is known of tenants: where they are, which indexes they have, and how those are made."""

    placements: Whereabouts
    configurations: Configurations
    recipes: Recipes


class PlacedIndexer:
    """Makes the indexes of each tenant say what changes say."""

    def __init__(self, indexes: Indexes, registry: Registry) -> None:
        self._indexes = indexes
        self._registry = registry

    async def index(self, changes: Sequence[Change]) -> list[Result]:
        """Return what became of each change; see Indexer.index.

        What fails in the index beside the live one alone is told, and keeps nobody waiting.

        Raises:
            Unavailable: trying all of it again may help.
        """
        tenants: dict[str, list[Change]] = defaultdict(list)
        for change in changes:
            tenants[change.tenant_id].append(change)
        results: dict[tuple[str, str], Result] = {}
        for tenant_id, some in tenants.items():
            became = await self._index_tenant(system(tenant_id, _PART), some)
            results.update(zip((change.key for change in some), became, strict=True))
        return [results[change.key] for change in changes]

    async def withdraw(self, change: Change) -> None:
        """Remove what is stored of a document whose newest version cannot be indexed."""
        identity = system(change.tenant_id, _PART)
        configured = await self._registry.configurations.of(identity)
        for made in (configured.live, *filter(None, (configured.second,))):
            await self._remove(identity, made, [change])

    async def _remove(self, identity: Identity, made: Made | None, changes: Sequence[Change]) -> None:
        """Remove documents from an index wherever it is now, with or without its model."""
        recipe = self._registry.recipes.for_removal(made)
        placement = await self._registry.placements.of(identity)
        for place in (placement.place, placement.other_place)[: 1 + placement.mirrored]:
            index = self._indexes.of(identity, place, recipe)
            target = _Target(made, recipe, GuardedIndex(index, lambda: self._check_placed(identity, placement, made)))
            for change in changes:
                await target.indexer().withdraw(change)

    async def _index_tenant(self, identity: Identity, changes: Sequence[Change]) -> list[Result]:
        before = await self._registry.configurations.of(identity)
        live = await self._target(identity, before.live)
        outcomes = await live.indexer().index(changes)
        await self._mirror(identity, live, changes)
        # Looked up again: a build may have begun since.
        configured = await self._registry.configurations.of(identity)
        if self._key_of(configured.live) != self._key_of(before.live):
            raise IndexChanged("the tenant's live index is another one now")
        if configured.second is None:
            return [Result(outcome) for outcome in outcomes]
        beside = await self._beside(identity, configured.second, live, list(zip(changes, outcomes, strict=True)))
        return [Result(outcome, beside.get(change.key)) for change, outcome in zip(changes, outcomes, strict=True)]

    async def _beside(
        self, identity: Identity, made: Made, live: "_Target", done: Sequence[tuple[Change, Outcome | None]]
    ) -> dict[tuple[str, str], Beside]:
        """Bring the second index up to what the live one was brought to, as far as that can be."""
        # What a newer version has overtaken is for that version's record.
        current = [(change, outcome) for change, outcome in done if outcome and outcome.version == change.version]
        kept = [change for change, outcome in current if not isinstance(outcome, Failed)]
        gone = [change for change, outcome in current if isinstance(outcome, Failed)]
        try:
            target = await self._target(identity, made)
        except ModelUnavailable as error:
            # What fails is not in it, in no earlier version either; nor is what is deleted.
            await self._remove(identity, made, [change for change, _ in current])
            kept = [change for change in kept if not change.deleted]
            return {change.key: Beside(made.key, Failed(change.version, error.reason, str(error))) for change in kept}
        indexer = target.indexer(live)
        for change in gone:
            await indexer.withdraw(change)
        told = await self._index_second(indexer, kept)
        await self._mirror(identity, target, [change for change, _ in current])
        answers = zip(kept, told, strict=True)
        return {
            change.key: Beside(made.key, outcome)
            for change, outcome in answers
            if isinstance(outcome, Indexed | Failed)
        }

    async def _index_second(self, indexer: Indexer, changes: Sequence[Change]) -> list[Outcome | None]:
        """Index into the second index; what nobody foresaw there is no fault of the live one's."""
        try:
            return await indexer.index(changes)
        except Unavailable:
            raise
        except Exception:
            log.exception("second_index_failed", documents=len(changes))
        return [await self._index_alone(indexer, change) for change in changes]

    async def _index_alone(self, indexer: Indexer, change: Change) -> Outcome | None:
        try:
            return (await indexer.index([change]))[0]
        except Unavailable:
            raise
        except Exception as error:
            log.exception("second_index_failed", tenant=change.tenant_id, document=change.document_id)
            # What fails is not in it, in no earlier version either.
            await indexer.withdraw(change)
            return Failed(change.version, INTERNAL, f"indexing failed: {type(error).__name__}")

    async def _target(self, identity: Identity, made: Made | None) -> "_Target":
        recipe = await self._registry.recipes.of(made)
        place = (await self._registry.placements.of(identity)).place
        index = self._indexes.of(identity, place, recipe)
        return _Target(made, recipe, GuardedIndex(index, lambda: self._check(identity, place, made)))

    async def _mirror(self, identity: Identity, target: "_Target", changes: Sequence[Change]) -> None:
        """Bring the other place up to what was written, if there is one now."""
        await target.index.check()
        placement = await self._registry.placements.of(identity)
        if placement.mirrored:
            other = self._indexes.of(identity, placement.other_place, target.recipe)
            copy = GuardedIndex(other, lambda: self._check_placed(identity, placement, target.made))
            await mirror(identity, [change.document_id for change in changes], target.index, copy)

    async def _check(self, identity: Identity, place: str, made: Made | None) -> None:
        if (await self._registry.placements.of(identity)).place != place:
            raise PlaceChanged("the tenant is elsewhere now")
        await self._check_made(identity, made)

    async def _check_placed(self, identity: Identity, before: Placement, made: Made | None) -> None:
        now = await self._registry.placements.of(identity)
        if (now.place, now.other_place, now.mirrored) != (before.place, before.other_place, before.mirrored):
            raise PlaceChanged("the tenant's move has gone on")
        await self._check_made(identity, made)

    async def _check_made(self, identity: Identity, made: Made | None) -> None:
        """Raise unless changes are to reach the index that is made so, as ever: one that was dropped stays empty."""
        configured = await self._registry.configurations.of(identity)
        reached = {self._key_of(configured.live), *(second.key for second in [configured.second] if second)}
        if self._key_of(made) not in reached:
            raise IndexChanged("the tenant has that index no more")

    def _key_of(self, made: Made | None) -> str:
        return (made or self._registry.recipes.default).key


@dataclass(frozen=True, slots=True)
class _Target:
    """An index that changes are brought into, and how it is made."""

    made: Made | None
    recipe: Recipe
    index: "GuardedIndex"

    def indexer(self, donor: "_Target | None" = None) -> Indexer:
        """Return what writes here; a donor of the same model spares embedding what it has."""
        fits = donor is not None and donor.recipe.model is self.recipe.model
        writer = Writer(self.index, self.recipe.model.lanes, donor.index if donor and fits else None)
        return Indexer(self.index, self.recipe.reader, writer)


class GuardedIndex:
    """A PassageIndex that is not written to once `check` raises: what was left stays empty."""

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
