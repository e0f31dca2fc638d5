"""What ApiKeys and Assistants promise, on the memory adapters and on PostgreSQL."""

import asyncio
import uuid
from datetime import UTC, datetime

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import text
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

from services.common.access import Role
from services.common.database import open_database
from services.common.identity import Identity, system
from services.common.quotas import Quotas
from services.gateway.adapters.assistants import PostgresAssistants
from services.gateway.adapters.memory import MemoryApiKeys, MemoryAssistants
from services.gateway.adapters.postgres import MIGRATIONS, SCHEMA, PostgresApiKeys
from services.gateway.domain.assistants import (
    AnswerLength,
    Assistant,
    AssistantChanged,
    AssistantNotFound,
    CitationPolicy,
    Narrowing,
)
from services.gateway.domain.keys import ApiKeyNotFound, KeyMaker, KeyTerms
from services.gateway.ports import ApiKeys, Assistants, StoreUnavailable

MAKER = KeyMaker(b"k" * 32)
BEFORE = """
INSERT INTO gateway.tenants (tenant_id) VALUES ('{tenant}');
INSERT INTO gateway.assistants VALUES ('{tenant}', 'sales', 'Be brief.', '{{wiki}}', 'x', 7, true)
"""


def somebody() -> Identity:
    """Somebody in a tenant of their own."""
    return system(uuid.uuid4().hex, "test")


def whole() -> Assistant:
    """An assistant with everything."""
    narrowing = Narrowing(
        ("page",), ("Ada",), (("draft", False), ("shelf", 2.0), ("team", "é")), datetime(2024, 1, 2, 3, tzinfo=UTC)
    )
    return Assistant(
        "sales",
        "Two.",
        ("a", "b"),
        "",
        5,
        without_retrieval=True,
        languages=("fr", "en"),
        narrowing=narrowing,
        citation_policy=CitationPolicy.REQUIRE,
        answer_length=AnswerLength.LONG,
        without_abstention=True,
    )


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


async def test_an_assistant_is_kept_and_replaced_by_its_next_version(assistants, tenant):
    first = await assistants.put(tenant, Assistant("sales", "One.", ("a",), "x", 3))
    second = await assistants.put(tenant, whole())
    assert (first.version, second.version) == (1, 2)
    assert second.says_as_much_as(whole())
    assert first.created_at <= second.created_at
    assert await assistants.find(tenant, "sales") == second
    assert await assistants.page(tenant, "", 10) == [second]


async def test_what_is_as_it_was_makes_no_new_version(assistants, tenant):
    first = await assistants.put(tenant, whole())
    assert await assistants.put(tenant, whole()) == first
    assert await assistants.versions(tenant, "sales", 100, 10) == [first]


async def test_versions_never_change_and_are_given_newest_first(assistants, tenant):
    kept = [await assistants.put(tenant, Assistant("sales", text)) for text in ("One.", "Two.", "Three.")]
    assert await assistants.versions(tenant, "sales", 100, 2) == [kept[2], kept[1]]
    assert await assistants.versions(tenant, "sales", 2, 2) == [kept[0]]
    assert await assistants.version(tenant, "sales", 1) == kept[0]
    assert await assistants.version(tenant, "sales", 4) is None


@pytest.mark.parametrize(("expected", "kept"), [(0, False), (1, True), (2, False), (None, True)])
async def test_an_assistant_that_has_changed_is_not_replaced(assistants, tenant, expected, kept):
    await assistants.put(tenant, Assistant("sales", "One."), 0)
    if kept:
        assert (await assistants.put(tenant, Assistant("sales", "Two."), expected)).version == 2
        return
    with pytest.raises(AssistantChanged):
        await assistants.put(tenant, Assistant("sales", "Two."), expected)
    assert (await assistants.find(tenant, "sales")).instructions == "One."


async def test_of_two_who_replace_the_same_version_one_wins(assistants, tenant):
    await assistants.put(tenant, Assistant("sales", "One."))
    both = [assistants.put(tenant, Assistant("sales", text), 1) for text in ("Two.", "Three.")]
    outcomes = await asyncio.gather(*both, return_exceptions=True)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Assistant", "AssistantChanged"]


async def test_a_deleted_assistant_is_nothing_but_its_versions_stay_and_their_numbers_go_on(assistants, tenant):
    first = await assistants.put(tenant, Assistant("sales", "One."))
    for _ in range(2):
        await assistants.delete(tenant, "sales")
    assert await assistants.find(tenant, "sales") is None
    assert await assistants.page(tenant, "", 10) == []
    assert await assistants.version(tenant, "sales", 1) == first
    assert (await assistants.put(tenant, Assistant("sales", "One."), 0)).version == 2


async def test_what_was_never_there_cannot_be_deleted_nor_what_is_anothers(assistants, tenant):
    other = somebody()
    await assistants.put(other, Assistant("sales"))
    for name in ("sales", "none"):
        with pytest.raises(AssistantNotFound):
            await assistants.delete(tenant, name)
    assert await assistants.find(other, "sales") is not None
    assert await assistants.version(tenant, "sales", 1) is None
    assert list(await assistants.versions(tenant, "sales", 100, 10)) == []


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


async def test_assistants_of_before_become_their_first_versions(database_url):
    before = BEFORE.format(tenant=(name := uuid.uuid4().hex))
    async with open_database(database_url, MIGRATIONS, SCHEMA) as sessions:
        engine = sessions.kw["bind"]
        async with engine.begin() as connection:
            await connection.run_sync(_moved, command.downgrade, "0002")
            for statement in filter(None, map(str.strip, before.split(";"))):
                await connection.execute(text(statement))
            await connection.run_sync(_moved, command.upgrade, "head")
        found = await PostgresAssistants(sessions).find(system(name, "test"), "sales")
    assert found.version == 1
    assert found.says_as_much_as(Assistant("sales", "Be brief.", ("wiki",), "x", 7, without_retrieval=True))


def _moved(connection, move, revision):
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes.update(connection=connection, schema=SCHEMA)
    move(config, revision)
