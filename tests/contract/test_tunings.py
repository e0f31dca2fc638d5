"""Every Tunings keeps every version, and lets one change after another through."""

import asyncio
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

from services.common.database import open_database
from services.common.identity import Identity
from services.retrieve.adapters.memory import MemoryTunings
from services.retrieve.adapters.postgres import CACHE_SECONDS, SCHEMA, PostgresTunings
from services.retrieve.domain.tuning import NONE_PUT, Tuning, TuningChanged, TuningNotFound, TuningUnavailable

MIGRATIONS = Path(__file__).parents[2] / "services/retrieve/migrations"
WHOLE = Tuning({"Wiki": 2.5, "日本 \"'": 0.01}, 30.5, 0.0, 4, "a" * 64, 100, rerank_off=True)
now = partial(datetime.now, UTC)


@pytest.fixture(params=["memory", "postgres"])
async def tunings(request):
    if request.param == "memory":
        yield MemoryTunings(now)
        return
    async with open_database(request.getfixturevalue("database_url"), MIGRATIONS, SCHEMA) as sessions:
        yield PostgresTunings(sessions, now)


@pytest.fixture
def tenant(request):
    return Identity(f"tenant-{request.node.name}", "user:x", ())


async def test_before_anything_is_put_there_is_version_0(tunings, tenant):
    assert await tunings.live(tenant) == NONE_PUT
    assert list(await tunings.before(tenant, None, 10)) == []


async def test_what_is_put_comes_back_as_it_was(tunings, tenant):
    kept = await tunings.put(tenant, WHOLE, 0)
    assert (kept.version, kept.tuning) == (1, WHOLE)
    assert await tunings.live(tenant) == kept
    assert await tunings.version(tenant, 1) == kept


async def test_every_version_is_kept_newest_first(tunings, tenant):
    for version in range(4):
        await tunings.put(tenant, Tuning(max_steps=version + 1), version)
    assert [one.version for one in await tunings.before(tenant, None, 3)] == [4, 3, 2]
    assert [one.tuning.max_steps for one in await tunings.before(tenant, 3, 10)] == [2, 1]


@pytest.mark.parametrize("expected", [-1, 1, 2**63 - 1])
async def test_what_was_not_seen_is_not_replaced(tunings, tenant, expected):
    with pytest.raises(TuningChanged):
        await tunings.put(tenant, WHOLE, expected)


async def test_of_many_at_once_one_gets_through(tunings, tenant):
    outcomes = await asyncio.gather(*(tunings.put(tenant, WHOLE, 0) for _ in range(8)), return_exceptions=True)
    assert sum(isinstance(one, TuningChanged) for one in outcomes) == 7
    assert (await tunings.live(tenant)).version == 1


@pytest.mark.parametrize("version", [0, 2, -1, 2**63 - 1])
async def test_a_version_that_never_was_is_not_found(tunings, tenant, version):
    await tunings.put(tenant, WHOLE, 0)
    with pytest.raises(TuningNotFound):
        await tunings.version(tenant, version)


async def test_a_tenant_has_its_own_versions_only(tunings, tenant):
    await tunings.put(tenant, WHOLE, 0)
    other = Identity(tenant.tenant_id + "-other", "user:x", ())
    assert await tunings.live(other) == NONE_PUT
    with pytest.raises(TuningNotFound):
        await tunings.version(other, 1)


async def test_a_tenant_that_is_erased_leaves_nothing(database_url, tenant):
    async with open_database(database_url, MIGRATIONS, SCHEMA) as sessions:
        tunings = PostgresTunings(sessions, now)
        await tunings.put(tenant, WHOLE, 0)
        assert await tunings.erase(tenant) == 1
        assert await tunings.erase(tenant) == 0
        assert await tunings.live(tenant) == NONE_PUT


async def test_another_replicas_change_is_seen_within_a_second(database_url, tenant):
    async with open_database(database_url, MIGRATIONS, SCHEMA) as sessions:
        one, other = PostgresTunings(sessions, now), PostgresTunings(sessions, now)
        assert (await one.live(tenant)).version == 0
        await other.put(tenant, WHOLE, 0)
        await asyncio.sleep(CACHE_SECONDS)
        assert (await one.live(tenant)).version == 1


async def test_a_database_that_is_away_is_named(tenant):
    engine = create_async_engine("postgresql+asyncpg://nobody@127.0.0.1:9/none")
    with pytest.raises(TuningUnavailable):
        await PostgresTunings(async_sessionmaker(engine), now).live(tenant)
    await engine.dispose()
