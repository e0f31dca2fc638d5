"""The adapters in the engine: those loaded by hand, by tenant and name, those of aliases, and who holds them."""

import asyncio
import contextlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from services.common.identity import Identity
from services.common.lora.checks import Adapter, checked_name
from services.generate.domain.errors import AdapterNotFound, TooManyAdapters
from services.generate.ports import Engine, EngineAdapter


@dataclass(slots=True, eq=False)
class Weights:
    """An adapter in the engine: in use until it is retired, held while streams run on it, then `gone`."""

    adapter: Adapter
    engine_adapter: EngineAdapter
    holders: int = 0
    retired: bool = False
    gone: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(slots=True)
class Loaded:
    """Weights as they are used under a name.

    `owner` is the subject that put them there; whoever may load may change whether they are `cleared`.
    """

    weights: Weights
    owner: str
    cleared: bool

    @property
    def adapter(self) -> Adapter:
        """The files."""
        return self.weights.adapter

    @property
    def engine_adapter(self) -> EngineAdapter:
        """The engine's name for them."""
        return self.weights.engine_adapter


class AdapterShelf:
    """Loads, replaces and unloads adapters; running streams keep the weights they began with."""

    def __init__(self, engine: Engine, fetch: Callable[[Identity, str], Adapter], capacity: int) -> None:
        """`fetch` blocks; `capacity` counts what is in use and what streams still hold."""
        self._engine = engine
        self._fetch = fetch
        self._capacity = capacity
        self._named: dict[tuple[str, str], Loaded] = {}
        self._in_engine: dict[int, Weights] = {}
        self._done_with: asyncio.Queue[int] = asyncio.Queue()
        self._changing = asyncio.Lock()
        # Names and ids are never used again: the engine's caches know weights by them.
        self._ids = itertools.count(1)

    async def load(self, identity: Identity, name: str, uri: str, *, cleared: bool = False) -> Loaded:
        """Put the adapter at `uri` in use under `name`, beside or in place of what is there.

        The same adapter again stays as it is, but for whether it is `cleared`.

        Raises:
            InvalidAdapterName, InvalidAdapter, AdapterNotFound: it cannot be loaded.
            TooManyAdapters: the engine has no room.
        """
        key = (identity.tenant_id, checked_name(name))
        adapter = await asyncio.to_thread(self._fetch, identity, uri)
        async with self._changing:
            before = self._named.get(key)
            if before is not None and before.adapter.digest == adapter.digest:
                before.cleared = cleared
                return before
            self._check_room()
            loaded = Loaded(await self._taken_in(f"{key[0]}/{key[1]}", adapter), identity.subject, cleared)
            self._named[key] = loaded
            if before is not None:
                self.retire(before.weights)
        return loaded

    async def unload(self, identity: Identity, name: str) -> None:
        """Take the adapter out of use; one that is not there is no error."""
        async with self._changing:
            if loaded := self._named.pop((identity.tenant_id, checked_name(name)), None):
                self.retire(loaded.weights)

    async def take_in(self, tenant_id: str, adapter: Adapter) -> Weights:
        """Load an adapter that an alias needs; what nobody streams on and no alias needs gives way to it.

        Raises:
            InvalidAdapter: the engine refuses it.
            TooManyAdapters: the engine has no room.
        """
        async with self._changing:
            await self._make_room()
            return await self._taken_in(f"{tenant_id}/", adapter)

    def retire(self, weights: Weights) -> None:
        """Take weights out of use; they leave the engine with their last stream."""
        weights.retired = True
        self._release(weights)

    def revive(self, weights: Weights) -> bool:
        """Put weights that left use back, and tell whether they were still there."""
        if weights.retired and not weights.holders:
            return False
        weights.retired = False
        return True

    def adapters(self, identity: Identity) -> dict[str, Loaded]:
        """Return the tenant's adapters that were loaded by hand, by name, in order."""
        own = {name: loaded for (tenant, name), loaded in self._named.items() if tenant == identity.tenant_id}
        return dict(sorted(own.items()))

    def count(self) -> int:
        """Return how many adapters the engine holds."""
        return len(self._in_engine)

    def streams(self, *, retired: bool) -> int:
        """Return how many streams run on adapters that are in use, or on those that are not any more."""
        return sum(weights.holders for weights in self._in_engine.values() if weights.retired is retired)

    def named(self, identity: Identity, name: str) -> Loaded | None:
        """Return the tenant's adapter that was loaded by hand under `name`; no name is the base model, None.

        Raises:
            AdapterNotFound: the tenant has none of that name.
        """
        if not name:
            return None
        loaded = self._named.get((identity.tenant_id, name))
        if loaded is None:
            raise AdapterNotFound("no such adapter")
        return loaded

    @contextlib.contextmanager
    def holding(self, loaded: Loaded | None) -> Iterator[None]:
        """Hold weights for one stream."""
        if loaded is None:
            yield
            return
        loaded.weights.holders += 1
        try:
            yield
        finally:
            loaded.weights.holders -= 1
            self._release(loaded.weights)

    async def remove_retired(self) -> None:
        """Take out of the engine, for ever, what is not in use and not held any more."""
        while True:
            await self._remove(await self._done_with.get())

    async def _remove(self, adapter_id: int) -> None:
        await self._engine.unload(adapter_id)
        if weights := self._in_engine.pop(adapter_id, None):
            weights.gone.set()

    def _check_room(self) -> None:
        if len(self._in_engine) >= self._capacity:
            raise TooManyAdapters("the engine holds as many adapters as it can", limit=self._capacity)

    async def _make_room(self) -> None:
        if len(self._in_engine) >= self._capacity:
            idle = (key for key, loaded in self._named.items() if not loaded.weights.holders)
            if key := next(idle, None):
                self.retire(self._named.pop(key).weights)
            while not self._done_with.empty():
                await self._remove(self._done_with.get_nowait())
        self._check_room()

    async def _taken_in(self, name: str, adapter: Adapter) -> Weights:
        adapter_id = next(self._ids)
        engine_adapter = EngineAdapter(adapter_id, f"{name}@{adapter.digest}#{adapter_id}", adapter.folder)
        weights = self._in_engine[adapter_id] = Weights(adapter, engine_adapter)
        try:
            await self._engine.load(engine_adapter)
        except BaseException:
            # A caller that went away leaves it unknown whether the engine has it.
            self._done_with.put_nowait(adapter_id)
            raise
        return weights

    def _release(self, weights: Weights) -> None:
        if weights.retired and not weights.holders:
            self._done_with.put_nowait(weights.engine_adapter.id)
