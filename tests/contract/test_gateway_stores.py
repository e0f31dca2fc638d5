"""What ApiKeys and Assistants promise, on the memory adapters and on PostgreSQL."""

import uuid
from datetime import UTC, datetime

import pytest
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

from services.common.access import Role
from services.common.database import open_database
from services.common.identity import Identity, system
from services.common.quotas import Quotas
from services.gateway.adapters.memory import MemoryApiKeys, MemoryAssistants
from services.gateway.adapters.postgres import MIGRATIONS, SCHEMA, PostgresApiKeys, PostgresAssistants
from services.gateway.domain.assistants import Assistant
from services.gateway.domain.keys import ApiKeyNotFound, KeyMaker, KeyTerms
from services.gateway.ports import ApiKeys, Assistants, StoreUnavailable

MAKER = KeyMaker(b"k" * 32)


def somebody() -> Identity:
    """Somebody in a tenant of their own."""
    return system(uuid.uuid4().hex, "test")


def terms(name: str) -> KeyTerms:
    return KeyTerms(name, frozenset({Role.READER}))


@pytest.fixture(params=["memory", "postgres"])
async def stores(request):
    """Keys and assistants, of one kind each."""
    if request.param == "memory":
        yield MemoryApiKeys(), MemoryAssistants()
        return
    async with open_database(request.getfixturevalue("database_url"), MIGRATIONS, SCHEMA) as sessions:
        yield PostgresApiKeys(sessions), PostgresAssistants(sessions)


@pytest.fixture
def keys(stores) -> ApiKeys:
    return stores[0]


@pytest.fixture
def assistants(stores) -> Assistants:
    return stores[1]


@pytest.fixture
async def tenant(keys) -> Identity:
    """Somebody in a tenant of the test's own, with one key."""
    identity = somebody()
    await keys.create(identity, terms("first"), MAKER.make())
    return identity


async def test_a_key_is_found_by_its_id_with_its_mac(keys, tenant):
    new = MAKER.make()
    kept = await keys.create(tenant, terms("ci"), new)
    found = await keys.find(new.key_id)
    assert (kept.terms, kept.tenant_id, kept.revoked_at) == (terms("ci"), tenant.tenant_id, None)
    assert (found.tenant_id, found.mac, found.revoked) == (tenant.tenant_id, new.mac, False)


async def test_what_a_key_is_for_is_kept(keys, tenant):
    new, ends = MAKER.make(), datetime(2099, 1, 2, 3, 4, 5, 6, UTC)
    wanted = KeyTerms("app", frozenset({Role.READER, Role.TRAINER}), ends, acts_for_users=True, quota=Quotas(5, 6, 7))
    assert (await keys.create(tenant, wanted, new)).terms == wanted
    assert (await keys.page(tenant, None, 1))[0].terms == wanted
    found = await keys.find(new.key_id)
    assert (found.roles, found.expires_at, found.acts_for_users) == (wanted.roles, ends, True)
    assert found.quota == wanted.quota


async def test_an_unknown_key_is_nothing(keys):
    assert await keys.find("0" * 16) is None


async def test_a_revoked_key_is_found_revoked_and_stays_so(keys, tenant):
    new = MAKER.make()
    await keys.create(tenant, terms("ci"), new)
    await keys.revoke(tenant, new.key_id)
    first = (await keys.page(tenant, None, 1))[0].revoked_at
    await keys.revoke(tenant, new.key_id)
    assert (await keys.find(new.key_id)).revoked
    assert (await keys.page(tenant, None, 1))[0].revoked_at == first


async def test_another_tenants_key_cannot_be_revoked(keys, tenant):
    new = MAKER.make()
    await keys.create(somebody(), terms("theirs"), new)
    with pytest.raises(ApiKeyNotFound):
        await keys.revoke(tenant, new.key_id)
    assert not (await keys.find(new.key_id)).revoked


async def test_keys_page_newest_first_within_their_tenant(keys, tenant):
    await keys.create(somebody(), terms("theirs"), MAKER.make())
    for name in ("second", "third"):
        await keys.create(tenant, terms(name), MAKER.make())
    first = await keys.page(tenant, None, 2)
    rest = await keys.page(tenant, (first[-1].created_at, first[-1].key_id), 2)
    assert [key.terms.name for key in (*first, *rest)] == ["third", "second", "first"]


async def test_an_assistant_is_kept_and_replaced(assistants, tenant):
    await assistants.put(tenant, Assistant("sales", "One.", ("a",), "x", 3))
    replaced = Assistant("sales", "Two.", ("a", "b"), "", 5, without_retrieval=True)
    await assistants.put(tenant, replaced)
    assert await assistants.find(tenant, "sales") == replaced
    assert await assistants.page(tenant, "", 10) == [replaced]


async def test_another_tenants_assistant_is_nothing(assistants, keys, tenant):
    other = somebody()
    await keys.create(other, terms("theirs"), MAKER.make())
    await assistants.put(other, Assistant("sales"))
    assert await assistants.find(tenant, "sales") is None
    assert list(await assistants.page(tenant, "", 10)) == []


async def test_assistants_page_in_the_order_of_their_bytes(assistants, tenant):
    for name in ("b", "Z", "a", "_"):
        await assistants.put(tenant, Assistant(name))
    first = await assistants.page(tenant, "", 2)
    rest = await assistants.page(tenant, first[-1].name, 10)
    assert [assistant.name for assistant in (*first, *rest)] == ["Z", "_", "a", "b"]


async def test_a_database_that_is_not_there_is_unavailable():
    engine = create_async_engine("postgresql+asyncpg://nobody@127.0.0.1:1/none")
    with pytest.raises(StoreUnavailable):
        await PostgresApiKeys(async_sessionmaker(engine)).find("x")
    await engine.dispose()
