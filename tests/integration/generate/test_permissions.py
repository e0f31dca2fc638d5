"""An adapter answers whom its documents may be shown to, and says what of them is gone."""

import contextlib
import json

import grpc
import pytest

from services.common.access import EVERY_ROLE
from services.common.database import open_database
from services.common.identity import Identity
from services.common.permissions import open_permissions
from services.generate.__main__ import MIGRATIONS
from services.generate.adapters.memory import MemoryEngine
from services.generate.adapters.postgres import SCHEMA, PostgresErasedPeople
from tests.integration.generate.conftest import ADA, BOB, generate_service
from tests.integration.generate.test_service import refusal
from tests.unit.generate.adapters import tensors, write
from tests.unit.generate.waiting import eventually

C = grpc.StatusCode
NOT_PERMITTED = (C.PERMISSION_DENIED, "ADAPTER_NOT_PERMITTED")
EVE = Identity("acme", "user:eve", ("everyone", "user:eve"), EVERY_ROLE)


class SaltKeepingEngine(MemoryEngine):
    """Keeps the salt of each job, and how often prompts were forgotten."""

    def __init__(self):
        super().__init__()
        self.salts, self.forgotten = [], 0

    def answering(self, job):
        self.salts.append(job.cache_salt)
        return super().answering(job)

    async def forget_prompts(self):
        await super().forget_prompts()
        self.forgotten += 1


@contextlib.asynccontextmanager
async def on_manifest(engine, cache, url):
    async with open_database(url, MIGRATIONS, SCHEMA) as sessions, open_permissions(url) as permissions:
        people = PostgresErasedPeople(sessions)
        async with generate_service(engine, cache, permissions=(permissions, people)) as running:
            yield running


@pytest.fixture
async def service(tmp_path, manifest):
    async with on_manifest(SaltKeepingEngine(), tmp_path / "cache", manifest.url) as running:
        yield running


def learnt(folder, documents=(), users=(), value=0.5):
    (write(folder, weights=tensors(value=value)) / "lineage.json").write_text(
        json.dumps({"documents": list(documents), "users": list(users)})
    )
    return folder


async def test_an_adapter_answers_who_may_read_every_document_that_it_learnt_from(service, manifest, tmp_path):
    await manifest.put("acme", "lin-a", "everyone")
    await manifest.put("acme", "lin-b", "user:ada")
    adapter = await service.client().load("support", learnt(tmp_path / "a", ["lin-a", "lin-b"]))
    assert (adapter.document_count, adapter.cleared, adapter.owner, adapter.stale) == (2, False, "user:ada", False)
    assert await service.client(ADA).answer(adapter="support")
    assert await refusal(service.client(EVE).answer(adapter="support")) == NOT_PERMITTED
    await manifest.put("acme", "lin-b", "user:eve")

    async def moved():
        with contextlib.suppress(grpc.aio.AioRpcError):
            return await service.client(EVE).answer(adapter="support")

    await eventually(moved)
    assert await refusal(service.client(ADA).answer(adapter="support")) == NOT_PERMITTED


async def test_a_cleared_adapter_answers_everybody_in_the_tenant_until_it_is_not(service, manifest, tmp_path):
    await manifest.put("acme", "lin-own", "user:ada")
    folder = learnt(tmp_path / "a", ["lin-own"])
    assert (await service.client().load("support", folder, cleared=True)).cleared
    assert await service.client(EVE).answer(adapter="support")
    assert await refusal(service.client(BOB).answer(adapter="support")) == (C.NOT_FOUND, "ADAPTER_NOT_FOUND")
    await service.client().load("support", folder)
    assert await refusal(service.client(EVE).answer(adapter="support")) == NOT_PERMITTED


@pytest.mark.parametrize("lineage", [None, {"users": ["user:ada"]}])
async def test_without_documents_only_who_loaded_it_is_answered(service, tmp_path, lineage):
    folder = learnt(tmp_path / "a", **lineage) if lineage else write(tmp_path / "a")
    await service.client().load("support", folder)
    assert await service.client(ADA).answer(adapter="support")
    assert await refusal(service.client(EVE).answer(adapter="support")) == NOT_PERMITTED


async def test_without_a_manifest_only_what_needs_none_is_answered(tmp_path):
    async with generate_service(MemoryEngine(), tmp_path / "cache") as running:
        await running.client().load("own", write(tmp_path / "a"))
        assert await running.client().answer(adapter="own")
        away = (C.UNAVAILABLE, "PERMISSIONS_UNAVAILABLE")
        assert await refusal(running.client().load("learnt", learnt(tmp_path / "b", ["d"]))) == away
        assert await refusal(running.client().answer(adapter="learnt")) == away


async def test_a_deleted_document_makes_an_adapter_stale_and_is_named(service, manifest, tmp_path):
    await manifest.put("acme", "lin-kept", "everyone")
    await manifest.put("acme", "lin-gone", "everyone")
    await service.client().load("support", learnt(tmp_path / "a", ["lin-kept", "lin-gone"]))
    assert not (await service.client().list()).adapters[0].stale
    await manifest.delete("lin-gone")
    (adapter,) = (await service.client().list()).adapters
    assert (adapter.stale, list(adapter.deleted_document_ids)) == (True, ["lin-gone"])


async def test_an_erased_person_makes_adapters_stale_for_good(tmp_path, manifest):
    for turn in range(2):
        engine = SaltKeepingEngine()
        async with on_manifest(engine, tmp_path / "cache", manifest.url) as running:
            client = running.client()
            await client.load("of-ada", learnt(tmp_path / "a", users=["user:ada", "user:x"]), cleared=True)
            await client.load("of-bob", learnt(tmp_path / "b", users=["user:bob"], value=0.25), cleared=True)
            if turn == 0:
                answer = await client.erase(person={"principals": ["user:ada", "user:alias"]})
                assert (list(answer.stale_adapters), answer.done, engine.forgotten) == (["of-ada"], True, 1)
            adapters = (await client.list()).adapters
            assert [(one.name, one.stale, list(one.erased_users)) for one in adapters] == [
                ("of-ada", True, ["user:ada"]),
                ("of-bob", False, []),
            ]
            if turn:
                await client.erase(whole_tenant={})


async def test_a_whole_tenant_goes_from_engine_and_disk_and_no_other(service, tmp_path):
    folder = write(tmp_path / "a")
    for identity in (ADA, BOB):
        await service.client(identity).load("support", folder)
    answer = await service.client().erase(whole_tenant={})
    assert {one.kind: one.count for one in answer.removed} == {"adapters": 1, "adapter files": 1}
    assert (answer.done, service.engine.forgotten) == (True, 1)
    assert not (await service.client(ADA).list()).adapters
    assert await service.client(BOB).answer(adapter="support")
    assert len(list((tmp_path / "cache" / "adapters").iterdir())) == 1

    async def one_left():
        return len(await service.engine.adapters()) == 1

    await eventually(one_left)
    assert not (await service.client().erase(whole_tenant={})).removed
    assert await refusal(service.client().erase()) == (C.INVALID_ARGUMENT, "NOTHING_TO_ERASE")


async def salts(service, *calls):
    for identity, fields in calls:
        await service.client(identity).answer(**fields)
    return service.engine.salts[-len(calls) :]


async def test_prompts_are_shared_in_a_tenant_and_what_is_restricted_with_the_same_readers_only(service, tmp_path):
    again = Identity("acme", "user:twin", tuple(reversed(ADA.principals)), EVERY_ROLE)
    ada, eve, bob = await salts(service, (ADA, {}), (EVE, {}), (BOB, {}))
    assert ada == eve != bob
    secret = {"restricted": True}
    own, hers, twins, theirs = await salts(service, (ADA, secret), (EVE, secret), (again, secret), (BOB, secret))
    assert own == twins
    assert len({ada, bob, own, hers, theirs}) == 5
    await service.client().load("own", write(tmp_path / "a"))
    assert await salts(service, (ADA, {"adapter": "own"})) == [own]
    await service.client().load("own", tmp_path / "a", cleared=True)
    assert await salts(service, (ADA, {"adapter": "own"})) == [ada]
