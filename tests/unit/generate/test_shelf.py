"""Adapters come, are replaced and go, while streams run on them."""

import asyncio
import contextlib

import pytest

from services.common.identity import Identity
from services.common.lora.checks import Adapter
from services.common.lora.errors import InvalidAdapterName
from services.generate.adapters.memory import MemoryEngine
from services.generate.domain.errors import AdapterNotFound, EngineDead, TooManyAdapters
from services.generate.shelf import AdapterShelf
from tests.unit.generate.waiting import eventually

T, T1, T2 = (Identity(name, "user:ada", ()) for name in ("t", "t1", "t2"))


def fetched(_identity, uri):
    return Adapter(f"sha256:{uri}", 8, "Tiny-Model", f"/cache/{uri}")


class RecordingEngine(MemoryEngine):
    """Keeps the names of all that was ever loaded."""

    def __init__(self):
        super().__init__()
        self.loaded = []
        self.asked, self.open = asyncio.Event(), asyncio.Event()
        self.open.set()

    async def load(self, adapter):
        self.loaded.append(adapter)
        self.asked.set()
        await self.open.wait()
        await super().load(adapter)


@pytest.fixture
def engine():
    return RecordingEngine()


@pytest.fixture
async def shelf(engine):
    shelf = AdapterShelf(engine, fetched, capacity=3)
    task = asyncio.create_task(shelf.remove_retired())
    yield shelf
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, EngineDead):
        await task


@contextlib.contextmanager
def holding(shelf, identity, name):
    loaded = shelf.named(identity, name)
    with shelf.holding(loaded):
        yield loaded


async def settled(engine, count):
    async def reached():
        return len(await engine.adapters()) == count

    await eventually(reached)


async def test_the_same_adapter_again_changes_nothing(shelf, engine):
    assert await shelf.load(T, "a", "one") == await shelf.load(T, "a", "one")
    assert len(engine.loaded) == 1


async def test_the_same_adapter_again_may_be_cleared_and_not(shelf, engine):
    first = await shelf.load(T, "a", "one")
    assert (first.cleared, first.owner) == (False, "user:ada")
    await shelf.load(Identity("t", "user:bob", ()), "a", "one", cleared=True)
    assert (shelf.adapters(T)["a"].cleared, shelf.adapters(T)["a"].owner) == (True, "user:ada")
    await shelf.load(T, "a", "one")
    assert not shelf.adapters(T)["a"].cleared
    assert len(engine.loaded) == 1


async def test_loads_of_the_same_at_once_are_one(shelf, engine):
    loads = await asyncio.gather(*(shelf.load(T, "a", "one") for _ in range(10)))
    assert all(loaded is loads[0] for loaded in loads)
    assert len(engine.loaded) == 1


async def test_names_and_ids_are_never_used_again(shelf, engine):
    for uri in ("one", "two", "one", "two"):
        await shelf.load(T, "a", uri)
        await settled(engine, 1)
    await shelf.unload(T, "a")
    await shelf.load(T, "a", "one")
    assert len({adapter.id for adapter in engine.loaded}) == len({adapter.name for adapter in engine.loaded}) == 5


async def test_a_running_stream_keeps_what_it_began_with(shelf, engine):
    await shelf.load(T, "a", "one")
    with holding(shelf, T, "a") as before:
        await shelf.load(T, "a", "two")
        with holding(shelf, T, "a") as after:
            assert (before.adapter.digest, after.adapter.digest) == ("sha256:one", "sha256:two")
        await asyncio.sleep(0.01)
        assert await engine.adapters() == {before.engine_adapter.id, after.engine_adapter.id}
    await settled(engine, 1)
    assert await engine.adapters() == {after.engine_adapter.id}


async def test_what_is_unloaded_leaves_the_engine_with_its_last_stream(shelf, engine):
    await shelf.load(T, "a", "one")
    with holding(shelf, T, "a"):
        with holding(shelf, T, "a"):
            await shelf.unload(T, "a")
        with pytest.raises(AdapterNotFound), holding(shelf, T, "a"):
            pass
        await asyncio.sleep(0.01)
        assert len(await engine.adapters()) == 1
    await settled(engine, 0)


async def test_unloading_again_changes_nothing(shelf, engine):
    await shelf.load(T, "a", "one")
    await shelf.unload(T, "a")
    await shelf.unload(T, "a")
    await settled(engine, 0)
    assert shelf.adapters(T) == {}


async def test_two_tenants_may_use_one_name(shelf):
    await shelf.load(T1, "a", "one")
    await shelf.load(T2, "a", "two")
    assert shelf.adapters(T1)["a"].adapter.digest == "sha256:one"
    assert shelf.adapters(T2)["a"].adapter.digest == "sha256:two"
    await shelf.unload(T1, "a")
    assert list(shelf.adapters(T2)) == ["a"]


async def test_another_tenants_adapter_is_not_found(shelf):
    await shelf.load(T1, "a", "one")
    with pytest.raises(AdapterNotFound), holding(shelf, T2, "a"):
        pass


async def test_no_name_is_the_base_model(shelf):
    with holding(shelf, T, "") as loaded:
        assert loaded is None


@pytest.mark.parametrize("name", ["", "a/b", "a b", "é", "a" * 101, "a\n", "#"])
async def test_a_name_of_other_characters_is_refused(shelf, name):
    with pytest.raises(InvalidAdapterName):
        await shelf.load(T, name, "one")
    with pytest.raises(InvalidAdapterName):
        await shelf.unload(T, name)


async def test_more_than_the_engine_holds_are_refused(shelf, engine):
    for name in "abc":
        await shelf.load(T, name, name)
    with pytest.raises(TooManyAdapters):
        await shelf.load(T, "d", "d")
    await shelf.unload(T, "a")
    await settled(engine, 2)
    await shelf.load(T, "d", "d")
    assert shelf.count() == 3


async def test_what_streams_still_hold_counts(shelf):
    await shelf.load(T, "a", "one")
    with holding(shelf, T, "a"):
        await shelf.load(T, "a", "two")
        with holding(shelf, T, "a"):
            await shelf.load(T, "a", "three")
            with pytest.raises(TooManyAdapters):
                await shelf.load(T, "a", "four")
    assert shelf.adapters(T)["a"].adapter.digest == "sha256:three"


async def test_a_caller_that_goes_away_leaves_nothing_in_the_engine(shelf, engine):
    engine.open.clear()
    task = asyncio.create_task(shelf.load(T, "a", "one"))
    await asyncio.wait_for(engine.asked.wait(), 2)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    await settled(engine, 0)
    assert shelf.adapters(T) == {}


async def test_a_dead_engine_loads_nothing(shelf, engine):
    engine.kill()
    with pytest.raises(EngineDead):
        await shelf.load(T, "a", "one")
    assert shelf.adapters(T) == {}
