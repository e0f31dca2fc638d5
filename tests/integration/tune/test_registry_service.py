"""The registry through its face: imports, moves, replicas, canaries, erasure, and parts that fail."""

import asyncio
import contextlib
import json
import time
from datetime import UTC, datetime, timedelta

import grpc
import pytest
from kafka import KafkaConsumer
from tandem.erasure.v1 import erasure_service_pb2 as erasure_pb
from tandem.erasure.v1 import erasure_service_pb2_grpc as erasure_rpc
from tandem.feedback.v1 import events_pb2 as feedback_pb
from tandem.generate.v1 import events_pb2 as generate_pb
from tandem.tune.v1 import events_pb2 as tune_pb
from tandem.tune.v1 import registry_service_pb2 as pb
from tandem.tune.v1 import registry_service_pb2_grpc as rpc

from services.cli import parts, postgres
from services.cli.errors import failure_of
from services.common.bus import ADAPTERS, ADAPTERS_REPORTED, INTERACTIONS, RATINGS, key_of, open_producer, traced
from services.common.client import open_channel
from services.common.lora.signing import AdapterSigner, AdapterVerifier
from services.common.lora.store import AdapterStore
from tests.conftest import free_address, running, wait_for_port
from tests.integration.tune.registering import stamp
from tests.integration.tune.running import SIGNING_KEY, TRAINER, Addresses, Models, Process, called_by, tenant
from tests.manifest import migrate
from tests.tiny_adapter import write_adapter

pytestmark = pytest.mark.timeout(280)

INVALID, FAILED = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.FAILED_PRECONDITION
NOT_FOUND = grpc.StatusCode.NOT_FOUND
# What tune calls the model of the engine in memory.
MEMORY = "memory"


class Broker:
    """A broker of the test's own; stopped, it forgets everything."""

    def __init__(self, log):
        self.address, self._log = free_address(), log
        self._stack = contextlib.ExitStack()

    def start(self):
        process = self._stack.enter_context(running(parts.broker(self.address), self._log))
        wait_for_port(self.address, process)

    def stop(self):
        self._stack.close()


@contextlib.asynccontextmanager
async def registry_of(process):
    async with open_channel(process.address) as channel:
        yield rpc.RegistryServiceStub(channel)


@pytest.fixture(scope="module")
def tune(database_url, bus, beside, base, tmp_path_factory):
    """A replica beside an engine in memory: small adapters fit it."""
    asyncio.run(migrate(database_url))
    neighbours = Addresses(beside, free_address(), bus)
    folder = tmp_path_factory.mktemp("tune")
    process = Process(free_address(), neighbours, database_url, folder, Models(base, None))
    with process.running():
        asyncio.run(process.ready())
        yield process


@pytest.fixture
async def registry(tune):
    async with registry_of(tune) as stub:
        yield stub


async def refused(call):
    """Return the code, the reason and the message that a call ends with."""
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    return error.value.code(), failure_of(error.value, "").reason, error.value.details()


async def until(condition, seconds=90):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := await condition():
            return found
        await asyncio.sleep(0.2)
    raise TimeoutError(condition)


def told(bus, tenant_id, quiet_seconds=1.0):
    """Return what the topic says of a tenant's aliases, from the beginning until nothing comes."""
    consumer = KafkaConsumer(ADAPTERS, bootstrap_servers=bus, auto_offset_reset="earliest", group_id=None)
    try:
        found, last = [], time.monotonic()
        while time.monotonic() - last < quiet_seconds:
            for batch in consumer.poll(200).values():
                found += [tune_pb.AliasState.FromString(record.value) for record in batch]
                last = time.monotonic()
        return [each for each in found if each.tenant_id == tenant_id]
    finally:
        consumer.close()


async def last_told(bus, acme):
    found = await asyncio.to_thread(told, bus, acme)
    return max(found, key=lambda each: each.revision) if found else None


async def imported(registry, acme, folder, seed=0, **lineage):
    write_adapter(folder, seed=seed, base_model_name_or_path=MEMORY)
    if lineage:
        (folder / "lineage.json").write_text(json.dumps(lineage))
    request = pb.ImportAdapterRequest(uri=str(folder))
    return (await registry.ImportAdapter(request, **called_by(acme))).adapter


def promotion(digest, **fields):
    """Ask for a promotion as an admin must, for no gate has seen what was imported."""
    known = {"alias": "support", "digest": digest, "override": True, "reason": "a test"}
    return pb.PromoteAdapterRequest(**known | fields)


async def test_an_adapter_from_outside_is_registered_signed_and_shown(registry, tune, tmp_path):
    acme = tenant()
    made = await imported(registry, acme, tmp_path / "one", documents=["d1", "d2"], users=["user:bob"])
    assert (made.base, made.rank, made.method, made.owner) == (MEMORY, 2, "import", "user:ada")
    # The manifest has none of these documents.
    assert (made.stale, made.document_count, made.deleted_documents, made.person_count) == (True, 2, 2, 1)
    again = await registry.ImportAdapter(
        pb.ImportAdapterRequest(uri=str(tmp_path / "one"), digest=made.digest), **called_by(acme)
    )
    assert again.adapter == made
    verifier = AdapterVerifier([AdapterSigner(SIGNING_KEY).public_key])
    folder, card = await AdapterStore(str(tune.folder / "blobs")).fetch(acme, made.digest, tmp_path / "f", verifier)
    assert (card.base_model, card.method, card.probe) == (MEMORY, "import", None)
    assert (folder / "adapter_model.safetensors").read_bytes() == (
        tmp_path / "one/adapter_model.safetensors"
    ).read_bytes()
    found = await registry.GetAdapter(pb.GetAdapterRequest(digest=made.digest), **called_by(acme))
    assert (found.adapter, list(found.replicas)) == (made, [])
    [listed] = (await registry.ListAdapters(pb.ListAdaptersRequest(), **called_by(acme))).adapters
    assert listed == made
    unknown = refused(registry.GetAdapter(pb.GetAdapterRequest(digest=made.digest), **called_by(tenant())))
    assert (await unknown)[:2] == (NOT_FOUND, "ADAPTER_NOT_FOUND")


async def test_what_is_no_adapter_for_the_model_is_refused_with_the_reason(registry, tmp_path):
    acme = tenant()

    async def attempt(folder, **fields):
        request = pb.ImportAdapterRequest(uri=str(folder), **fields)
        return await refused(registry.ImportAdapter(request, **called_by(acme)))

    other = write_adapter(tmp_path / "other", base_model_name_or_path="Other-Model")
    assert await attempt(other) == (INVALID, "INVALID_ADAPTER", "trained on another base model")
    high = write_adapter(tmp_path / "high", rank=17, base_model_name_or_path=MEMORY)
    assert await attempt(high) == (INVALID, "INVALID_ADAPTER", "the rank is too high")
    cut = write_adapter(tmp_path / "cut", base_model_name_or_path=MEMORY)
    weights = cut / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    assert await attempt(cut) == (INVALID, "INVALID_ADAPTER", "a file of the adapter is broken")
    whole = write_adapter(tmp_path / "whole", base_model_name_or_path=MEMORY)
    assert (await attempt(whole, digest="sha256:" + "0" * 64))[:2] == (FAILED, "ADAPTER_ALTERED")
    weights = whole / "adapter_model.safetensors"
    weights.rename(whole / "adapter_model.bin")
    assert await attempt(whole) == (INVALID, "INVALID_ADAPTER", "the weights are a pickle; only safetensors is read")
    assert (await attempt(tmp_path / "nowhere"))[:2] == (NOT_FOUND, "ADAPTER_NOT_FOUND")
    assert (await attempt("http://host/adapter"))[:2] == (INVALID, "INVALID_ADAPTER")
    assert not (await registry.ListAdapters(pb.ListAdaptersRequest(), **called_by(acme))).adapters


async def test_two_adapters_are_shown_side_by_side(registry, tmp_path):
    acme = tenant()
    digests = [(await imported(registry, acme, tmp_path / f"{seed}", seed=seed)).digest for seed in (1, 2)]
    request = pb.DiffAdaptersRequest(left=digests[0], right=digests[1])
    found = await registry.DiffAdapters(request, **called_by(acme))
    assert [found.left.digest, found.right.digest] == digests
    [module] = found.modules
    assert module.module == "model.layers.0.self_attn.q_proj"
    assert module.distance > 0.5
    assert not found.settings


async def test_a_promotion_reaches_the_topic_and_what_replicas_say_of_it_is_shown(registry, bus, tmp_path):
    acme = tenant()
    digest = (await imported(registry, acme, tmp_path / "one")).digest
    gate = await refused(registry.PromoteAdapter(promotion(digest, override=False), **called_by(acme)))
    assert gate[:2] == (FAILED, "GATE_FAILED")
    denied = await refused(registry.PromoteAdapter(promotion(digest), **called_by(acme, roles=TRAINER)))
    assert denied[:2] == (grpc.StatusCode.PERMISSION_DENIED, "ROLE_REQUIRED")
    silent = await refused(registry.PromoteAdapter(promotion(digest, reason=""), **called_by(acme)))
    assert silent[:2] == (INVALID, "INVALID_REASON")
    alias = (await registry.PromoteAdapter(promotion(digest, expected_revision=0), **called_by(acme))).alias
    late = await refused(registry.PromoteAdapter(promotion("", expected_revision=0), **called_by(acme)))
    assert late[:2] == (FAILED, "ALIAS_CHANGED")
    state = await until(lambda: last_told(bus, acme))
    assert (state.live.digest, state.revision, state.live.owner) == (digest, alias.revision, "user:ada")

    now = datetime.now(UTC)
    reports = [
        generate_pb.AdapterReported(
            tenant_id=acme,
            alias="support",
            revision=alias.revision,
            digest=digest,
            replica_id=name,
            readiness=readiness,
            reason=reason,
            reported_at=stamp(at),
        )
        for name, readiness, reason, at in (
            ("r1", generate_pb.ADAPTER_READINESS_READY, "", now),
            ("r2", generate_pb.ADAPTER_READINESS_FAILED, "ADAPTER_ALTERED", now),
            ("r3", generate_pb.ADAPTER_READINESS_READY, "", now - timedelta(minutes=3)),
            ("r4", generate_pb.ADAPTER_READINESS_READY, "", now - timedelta(seconds=2)),
            ("r4", generate_pb.ADAPTER_READINESS_UNLOADED, "", now),
        )
    ]
    async with open_producer(bus) as producer:
        await producer.send(
            [traced(ADAPTERS_REPORTED, key_of(acme, digest), each.SerializeToString()) for each in reports]
        )

    async def three_are_known():
        found = await registry.GetAlias(pb.GetAliasRequest(alias="support"), **called_by(acme))
        return found.replicas if len(found.replicas) == 3 else None

    replicas = await until(three_are_known)
    assert [(each.replica_id, each.reason, each.silent) for each in replicas] == [
        ("r1", "", False),
        ("r2", "ADAPTER_ALTERED", False),
        ("r3", "", True),
    ]
    back = (await registry.RollbackAlias(pb.RollbackAliasRequest(alias="support"), **called_by(acme))).alias
    assert back.digest == ""
    moves = (await registry.ListAliasHistory(pb.ListAliasHistoryRequest(alias="support"), **called_by(acme))).moves
    assert [(each.action, each.undoes, each.overridden) for each in moves] == [
        (pb.MOVE_ACTION_ROLLED_BACK, alias.revision, False),
        (pb.MOVE_ACTION_PROMOTED, 0, True),
    ]


async def test_lists_come_in_pages(registry, tmp_path):
    acme = tenant()
    digests = [(await imported(registry, acme, tmp_path / f"{seed}", seed=seed)).digest for seed in (1, 2, 3)]
    for number, digest in enumerate(digests):
        await registry.PromoteAdapter(promotion(digest, alias=f"alias-{number}"), **called_by(acme))
        await registry.PromoteAdapter(promotion(digest, alias="busy"), **called_by(acme))

    async def paged(call, field, request):
        found = []
        while True:
            request.page_size = 2
            page = await call(request, **called_by(acme))
            found += getattr(page, field)
            if not page.next_page_token:
                return found
            request.page_token = page.next_page_token

    found = await paged(registry.ListAdapters, "adapters", pb.ListAdaptersRequest())
    assert [each.digest for each in found] == digests[::-1]
    aliases = await paged(registry.ListAliases, "aliases", pb.ListAliasesRequest())
    assert [each.alias for each in aliases] == ["alias-0", "alias-1", "alias-2", "busy"]
    moves = await paged(registry.ListAliasHistory, "moves", pb.ListAliasHistoryRequest(alias="busy"))
    assert [each.digest for each in moves] == digests[::-1]
    broken = pb.ListAliasHistoryRequest(alias="busy", page_token="bm9uZQ==")
    assert (await refused(registry.ListAliasHistory(broken, **called_by(acme))))[1] == "INVALID_PAGE"


async def test_a_canary_goes_from_records_on_the_topics_to_its_end(registry, bus, tmp_path):
    acme = tenant()
    digest = (await imported(registry, acme, tmp_path / "one")).digest
    request = pb.StartCanaryRequest(alias="support", digest=digest, share=0.5, override=True, reason="a test")
    bad = pb.StartCanaryRequest(alias="support", digest=digest, share=0.6, override=True, reason="a test")
    assert (await refused(registry.StartCanary(bad, **called_by(acme))))[1] == "INVALID_CANARY"
    canary = (await registry.StartCanary(request, **called_by(acme))).alias.canary
    assert (await until(lambda: last_told(bus, acme))).canary_id == canary.canary_id
    records, now = [], datetime.now(UTC)
    for number in range(80):
        name, is_canary = f"i{number}", number % 2 == 0
        answer = feedback_pb.Interaction(
            tenant_id=acme,
            interaction_id=name,
            conversation_id=f"talk {number}",
            subject="user:asker",
            canary_id=canary.canary_id,
            canary=is_canary,
            asked_at=stamp(now),
        )
        rating = feedback_pb.RatingRecorded(
            tenant_id=acme,
            rating_id=f"r{number}",
            interaction_id=name,
            subject=f"user:{number % 20}",
            thumb=feedback_pb.THUMB_UP if is_canary else feedback_pb.THUMB_DOWN,
            rated_at=stamp(now),
        )
        records.append(traced(INTERACTIONS, key_of(acme, name), answer.SerializeToString()))
        records.append(traced(RATINGS, key_of(acme, name), rating.SerializeToString()))
    async with open_producer(bus) as producer:
        # A repeat counts for nothing.
        await producer.send(records + records[:20])

    async def promoted():
        found = await registry.GetAlias(pb.GetAliasRequest(alias="support"), **called_by(acme))
        return found if found.alias.digest else None

    found = await until(promoted)
    assert (found.alias.digest, found.alias.subject) == (digest, "canary")
    last = found.last_canary
    assert (last.state, last.decisions[0].decision) == (pb.CANARY_STATE_PROMOTED, pb.CANARY_DECISION_PROMOTE)
    assert last.look.canary.ups <= 40
    assert last.look.ratings.low > 0
    assert (await until(lambda: last_told(bus, acme))).live.digest == digest


async def test_a_tenants_erasure_takes_adapters_and_aliases_and_says_so(registry, tune, bus, tmp_path):
    acme = tenant()
    digest = (await imported(registry, acme, tmp_path / "one", users=["user:bob", "user:eve"])).digest
    await registry.PromoteAdapter(promotion(digest), **called_by(acme))
    await registry.PromoteAdapter(promotion(digest, alias="other"), **called_by(acme))
    async with open_channel(tune.address) as channel:
        erasure = erasure_rpc.ErasureServiceStub(channel)
        person = erasure_pb.EraseRequest(person=erasure_pb.Person(principals=["user:bob", "user:ada"]))
        first = await erasure.Erase(person, **called_by(acme))
        assert (first.done, list(first.stale_adapters)) == (False, [f"adapter {digest}"])
        assert (await erasure.Erase(person, **called_by(acme))).done
        [adapter] = (await registry.ListAdapters(pb.ListAdaptersRequest(), **called_by(acme))).adapters
        assert (adapter.stale, adapter.person_count, adapter.erased_people, adapter.owner) == (True, 2, 1, "")
        moves = (await registry.ListAliasHistory(pb.ListAliasHistoryRequest(alias="support"), **called_by(acme))).moves
        assert [(each.subject, each.reason) for each in moves] == [("", "")]

        async def nameless():
            state = await last_told(bus, acme)
            return state is not None and state.live.digest == digest and state.live.owner == ""

        assert await until(nameless)
        everything = erasure_pb.EraseRequest(whole_tenant=erasure_pb.WholeTenant())
        gone = await erasure.Erase(everything, **called_by(acme))
        assert {each.kind: each.count for each in gone.removed} == {"adapters": 1, "aliases": 2, "alias moves": 2}
        assert (await erasure.Erase(everything, **called_by(acme))).done

    async def both_are_gone():
        states = await asyncio.to_thread(told, bus, acme)
        last = {each.alias: each for each in sorted(states, key=lambda each: each.revision)}
        return all(last[name].deleted and not last[name].HasField("live") for name in ("support", "other"))

    assert await until(both_are_gone)
    assert not (await registry.ListAliases(pb.ListAliasesRequest(), **called_by(acme))).aliases
    assert not list((tune.folder / "blobs/adapters").rglob(f"{digest.removeprefix('sha256:')}*"))


async def test_aliases_are_told_again_to_a_broker_that_lost_them_and_after_the_database_was_away(
    beside, base, tmp_path
):
    acme, data, broker = tenant(), tmp_path / "data", Broker(tmp_path / "broker.log")
    (tmp_path / "tune").mkdir()
    with contextlib.ExitStack() as stack:
        stack.callback(broker.stop)
        broker.start()
        database = stack.enter_context(contextlib.ExitStack())
        database.enter_context(running(parts.postgres(data), tmp_path / "postgres"))
        await migrate(postgres.url_of(data))
        neighbours = Addresses(beside, free_address(), broker.address)
        process = Process(free_address(), neighbours, postgres.url_of(data), tmp_path / "tune", Models(base, None))
        stack.enter_context(process.running())
        await process.ready()
        async with registry_of(process) as registry:
            digests = [(await imported(registry, acme, tmp_path / f"{seed}", seed=seed)).digest for seed in (1, 2)]
            await registry.PromoteAdapter(promotion(digests[0]), **called_by(acme))
            assert (await until(lambda: last_told(broker.address, acme))).live.digest == digests[0]

            broker.stop()
            # Nobody waits for the broker: the move is kept in PostgreSQL.
            moved = (await registry.PromoteAdapter(promotion(digests[1], alias="new"), **called_by(acme))).alias
            broker.start()

            async def both_are_told():
                states = await asyncio.to_thread(told, broker.address, acme)
                return {each.alias for each in states} == {"support", "new"}

            assert await until(both_are_told)

            database.close()
            away = await refused(registry.PromoteAdapter(promotion(digests[0], alias="new"), **called_by(acme)))
            assert away[:2] == (grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")
            database.enter_context(running(parts.postgres(data), tmp_path / "postgres"))

            async def moved_again():
                with contextlib.suppress(grpc.aio.AioRpcError):
                    request = promotion(digests[0], alias="new", expected_revision=moved.revision)
                    return (await registry.PromoteAdapter(request, **called_by(acme))).alias

            again = await until(moved_again)

            async def is_told():
                return (await last_told(broker.address, acme)).revision == again.revision

            assert await until(is_told)
