"""The adapters in use, by tenant and name, and the streams that hold them."""

import asyncio
import contextlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from services.common.identity import Identity
from services.generate.domain.adapter import Adapter, checked_name
from services.generate.domain.errors import AdapterNotFound, TooManyAdapters
from services.generate.ports import Engine, EngineAdapter


@dataclass(slots=True)
class Loaded:
    """An adapter in the engine: named until it is retired, held while streams run on it.

    `owner` is the subject that loaded it; whoever may load may change whether it is `cleared`.
    """

    adapter: Adapter
    engine_adapter: EngineAdapter
    owner: str
    cleared: bool
    holders: int = 0
    retired: bool = False


class AdapterShelf:
    """Loads, replaces and unloads adapters; running streams keep the weights they began with."""

    def __init__(self, engine: Engine, fetch: Callable[[Identity, str], Adapter], capacity: int) -> None:
        """`fetch` blocks; `capacity` counts what is named and what streams still hold."""
        self._engine = engine
        self._fetch = fetch
        self._capacity = capacity
        self._named: dict[tuple[str, str], Loaded] = {}
        self._in_engine: set[int] = set()
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
            loaded = Loaded(adapter, await self._taken_in(key, adapter), identity.subject, cleared)
            self._named[key] = loaded
            if before is not None:
                self._retire(before)
        return loaded

    async def unload(self, identity: Identity, name: str) -> None:
        """Take the adapter out of use; one that is not there is no error."""
        async with self._changing:
            if loaded := self._named.pop((identity.tenant_id, checked_name(name)), None):
                self._retire(loaded)

    def adapters(self, identity: Identity) -> dict[str, Loaded]:
        """Return the tenant's adapters by name, in order."""
        own = {name: loaded for (tenant, name), loaded in self._named.items() if tenant == identity.tenant_id}
        return dict(sorted(own.items()))

    def count(self) -> int:
        """Return how many adapters the engine holds."""
        return len(self._in_engine)

    @contextlib.contextmanager
    def holding(self, identity: Identity, name: str) -> Iterator[Loaded | None]:
        """Hold the tenant's adapter for one stream; no name is the base model, None.

        Raises:
            AdapterNotFound: the tenant has none of that name.
        """
        if not name:
            yield None
            return
        loaded = self._named.get((identity.tenant_id, name))
        if loaded is None:
            raise AdapterNotFound("no such adapter")
        loaded.holders += 1
        try:
            yield loaded
        finally:
            loaded.holders -= 1
            self._release(loaded)

    async def remove_retired(self) -> None:
        """Take out of the engine, for ever, what is not named and not held any more."""
        while True:
            adapter_id = await self._done_with.get()
            await self._engine.unload(adapter_id)
            self._in_engine.discard(adapter_id)

    async def _taken_in(self, key: tuple[str, str], adapter: Adapter) -> EngineAdapter:
        if len(self._in_engine) >= self._capacity:
            raise TooManyAdapters("the engine holds as many adapters as it can", limit=self._capacity)
        adapter_id = next(self._ids)
        engine_adapter = EngineAdapter(adapter_id, f"{key[0]}/{key[1]}@{adapter.digest}#{adapter_id}", adapter.folder)
        self._in_engine.add(adapter_id)
        try:
            await self._engine.load(engine_adapter)
        except BaseException:
            # A caller that went away leaves it unknown whether the engine has it.
            self._done_with.put_nowait(adapter_id)
            raise
        return engine_adapter

    def _retire(self, loaded: Loaded) -> None:
        loaded.retired = True
        self._release(loaded)

    def _release(self, loaded: Loaded) -> None:
        if loaded.retired and not loaded.holders:
            self._done_with.put_nowait(loaded.engine_adapter.id)
