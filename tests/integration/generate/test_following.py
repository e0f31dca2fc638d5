"""A service that follows aliases on a real event log, before the memory engine."""

import asyncio
import contextlib
import os
import subprocess
import sys
import uuid
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.common.bus import ADAPTERS, key_of, traced
from services.common.client import open_channel
from services.common.identity import Identity
from services.common.lora.store import AdapterStore
from services.generate.__main__ import Registry
from services.generate.adapters.bus import AliasTopic, BusReports, Listener
from services.generate.adapters.memory import MemoryEngine
from services.generate.adapters.registered import RegisteredFiles
from services.generate.converging import Converger, Patience, Workshop
from services.generate.proving import Prover
from tests.conftest import free_address
from tests.integration.generate.conftest import ADA, KEY, Client, generate_service
from tests.integration.generate.registry import FAILED, UNLOADED, registry_on
from tests.integration.generate.test_service import refusal
from tests.unit.generate.adapters import BASE, config, write
from tests.unit.generate.registry import SIGNER, VERIFIER, made, publish
from tests.unit.generate.waiting import eventually

C = grpc.StatusCode


def following(bus, blobs):
    """Return what makes a service follow aliases on `bus`, as its __main__ does."""

    def registry(engine, adapters, cache):
        files = RegisteredFiles(AdapterStore(str(blobs)), VERIFIER, cache, BASE)
        reports = BusReports(bus, uuid.uuid4().hex, partial(datetime.now, UTC))
        workshop = Workshop(files.fetch, adapters.shelf, Prover(engine, 0.1))
        converger = Converger(adapters.aliases, workshop, reports, Patience(longest_pause=0.5))
        topic = AliasTopic(bus, Listener(converger.want, converger.heard_all))
        tasks = (converger.run, topic.run, reports.run)
        return Registry(converger.forget, (files.remove,), (converger.converged,), tasks)

    return registry


@pytest.fixture
def acme():
    """An identity of a tenant that no other test has, for the log is shared."""
    return Identity(f"acme-{uuid.uuid4().hex[:8]}", "user:ada", ADA.principals, ADA.roles)


@contextlib.asynccontextmanager
async def service_on(bus, tmp_path):
    registry = following(bus, tmp_path / "blobs")
    async with generate_service(MemoryEngine(), tmp_path / "cache", following=registry) as service:
        yield service


@pytest.fixture
async def store(tmp_path):
    return AdapterStore(str(tmp_path / "blobs"))


async def started(client, adapter="support", **fields):
    return (await client.answer(adapter=adapter, **fields))[0].started


async def test_an_alias_moves_and_both_replicas_report(bus, store, tmp_path, acme):
    one, two = [await publish(store, tmp_path / "made", number, acme.tenant_id) for number in range(2)]
    async with (
        registry_on(bus, acme.tenant_id) as registry,
        service_on(bus, tmp_path) as first,
        service_on(bus, tmp_path) as second,
    ):
        await registry.point(one)
        await registry.until(one)
        await registry.point(two, 2)
        for service in (first, second):

            async def moved(service=service):
                with contextlib.suppress(grpc.aio.AioRpcError):
                    return (await started(service.client(acme))).adapter_digest == two

            await eventually(moved)
        await registry.until(one, UNLOADED)

        async def from_both():
            return len({each.replica_id for each in registry.reports if each.digest == two}) == 2

        await eventually(from_both)
        report = await registry.until(two)
        assert (report.alias, report.revision, report.reason) == ("support", 2, "")
        assert report.HasField("reported_at")


async def test_a_replica_that_starts_later_serves_once_it_has_what_aliases_point_at(bus, store, tmp_path, acme):
    digest = await publish(store, tmp_path / "made", 0, acme.tenant_id)
    async with registry_on(bus, acme.tenant_id) as registry:
        await registry.point("sha256:" + "0" * 64, 1)
        await registry.point(digest, 2)
        async with service_on(bus, tmp_path) as service:
            answer = await started(service.client(acme))
            assert (answer.adapter_digest, answer.adapter_alias) == (digest, "support")


async def test_what_answers_is_told_with_its_canary(bus, store, tmp_path, acme):
    one, two = [await publish(store, tmp_path / "made", number, acme.tenant_id) for number in range(2)]
    async with registry_on(bus, acme.tenant_id) as registry, service_on(bus, tmp_path) as service:
        await registry.point(one, canary=two, share=1.0)
        await registry.until(two)
        await registry.until(one)
        client = service.client(acme)
        answer = await started(client, conversation_id="talk")
        assert (answer.adapter_digest, answer.canary_id, answer.canary) == (two, "canary-1", True)
        answer = await started(client)
        assert (answer.adapter_digest, answer.canary_id, answer.canary) == (one, "", False)


async def test_an_alias_that_is_not_loaded_yet_is_unavailable_and_never_the_base_model(bus, tmp_path, acme):
    missing = "sha256:" + "0" * 64
    async with registry_on(bus, acme.tenant_id) as registry, service_on(bus, tmp_path) as service:
        await registry.point(missing)
        report = await registry.until(missing, FAILED)
        assert report.reason == "ADAPTER_MISSING"
        assert await refusal(service.client(acme).answer(adapter="support")) == (C.UNAVAILABLE, "ADAPTER_NOT_READY")
        assert await refusal(service.client(acme).answer(adapter="nobody")) == (C.NOT_FOUND, "ADAPTER_NOT_FOUND")
        await registry.point("", 2)

        async def base():
            with contextlib.suppress(grpc.aio.AioRpcError):
                return (await started(service.client(acme))).adapter_alias == "support"

        await eventually(base)
        assert (await started(service.client(acme))).adapter_digest == ""


async def test_nothing_is_loaded_by_hand_under_an_alias_s_name(bus, tmp_path, acme):
    async with registry_on(bus, acme.tenant_id) as registry, service_on(bus, tmp_path) as service:
        await registry.point()
        client = service.client(acme)

        async def known():
            with contextlib.suppress(grpc.aio.AioRpcError):
                return bool(await started(client))

        await eventually(known)
        folder = write(tmp_path / "a")
        assert await refusal(client.load("support", folder)) == (C.ALREADY_EXISTS, "ADAPTER_NAME_TAKEN")
        await client.load("candidate", folder)
        assert (await started(client, "candidate")).adapter_alias == ""


async def test_a_record_that_is_no_alias_stops_nothing(bus, store, tmp_path, acme):
    digest = await publish(store, tmp_path / "made", 0, acme.tenant_id)
    async with registry_on(bus, acme.tenant_id) as registry, service_on(bus, tmp_path):
        for value in (b"\xff\xff\xff", b""):
            await registry.producer.send([traced(ADAPTERS, key_of(acme.tenant_id, "broken"), value)])
        await registry.point(digest)
        await registry.until(digest)


async def test_an_erased_tenant_leaves_no_file_and_no_alias(bus, store, tmp_path, acme):
    digest = await publish(store, tmp_path / "made", 0, acme.tenant_id)
    async with registry_on(bus, acme.tenant_id) as registry, service_on(bus, tmp_path) as service:
        await registry.point(digest)
        await registry.until(digest)
        answer = await service.client(acme).erase(whole_tenant={})
        assert {each.kind: each.count for each in answer.removed} == {"adapters": 1, "adapter files": 1}
        assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
        assert await refusal(service.client(acme).answer(adapter="support")) == (C.NOT_FOUND, "ADAPTER_NOT_FOUND")


@pytest.mark.parametrize("completions", [[], [""], ["fine", ""], ["a"] * 17, ["x" * 8001], ["word " * 300]])
async def test_what_is_no_completion_is_not_scored(tmp_path, completions):
    async with generate_service(MemoryEngine(), tmp_path) as service:
        expected = (C.INVALID_ARGUMENT, "INVALID_COMPLETIONS")
        assert await refusal(service.client().score(completions)) == expected


async def test_completions_are_scored_in_their_order_with_what_ends_them(tmp_path):
    async with generate_service(MemoryEngine(), tmp_path) as service:
        client = service.client()
        await client.load("own", write(tmp_path / "a"))
        both = await client.score(["one two three", "four"])
        turned = await client.score(["four", "one two three"])
        assert [each.tokens for each in both.scores] == [4, 2]
        assert list(both.scores) == list(reversed(turned.scores))
        tuned = await client.score(["four"], adapter="own")
        assert tuned.adapter_digest.startswith("sha256:")
        assert tuned.scores[0].logprob != turned.scores[0].logprob
        assert await refusal(client.score(["four"], adapter="nobody")) == (C.NOT_FOUND, "ADAPTER_NOT_FOUND")
        assert await refusal(client.score(["four"], question="")) == (C.INVALID_ARGUMENT, "EMPTY_QUESTION")


async def test_scores_wait_for_their_turn_as_answers_do(tmp_path):
    async with generate_service(MemoryEngine(100_000, 1, 0.1), tmp_path) as service:
        client = service.client()
        calls = [client.generate() for _ in range(4)]

        async def full():
            return (service.admission.running, service.admission.waiting) == (2, 2)

        await eventually(full)
        assert await refusal(client.score(["four"])) == (C.RESOURCE_EXHAUSTED, "ENGINE_BUSY")
        for call in calls:
            call.cancel()


@contextlib.contextmanager
def process_on(bus, tmp_path, address):
    environment = os.environ | {
        "TANDEM_IDENTITY_KEY": KEY.decode(),
        "GENERATE_ENGINE": "memory",
        "GENERATE_ADDRESS": address,
        "GENERATE_CACHE": str(tmp_path / "cache"),
        "GENERATE_BUS": bus,
        "GENERATE_BLOBS": str(tmp_path / "blobs"),
    }
    with (tmp_path / "service.log").open("ab") as log:
        command = [sys.executable, "-m", "services.generate"]
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def until_serving(channel):
    async def serving():
        with contextlib.suppress(grpc.aio.AioRpcError):
            answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
            return answer.status == health_pb2.HealthCheckResponse.SERVING

    await eventually(serving, 120)


@pytest.mark.timeout(300)
async def test_a_process_that_is_killed_at_any_moment_of_a_load_converges_when_it_is_back(bus, store, tmp_path, acme):
    address = free_address()
    async with registry_on(bus, acme.tenant_id) as registry, open_channel(address) as channel:
        for revision, delay in enumerate((0.0, 0.02, 0.1), 1):
            folder, card = made(tmp_path / "made", revision, acme.tenant_id, config(base_model_name_or_path=None))
            digest = await store.publish(folder, replace(card, base_model="memory"), SIGNER)
            with process_on(bus, tmp_path, address):
                await until_serving(channel)
                await registry.point(digest, revision)
                await asyncio.sleep(delay)
            with process_on(bus, tmp_path, address):
                await until_serving(channel)
                assert (await started(Client(channel, acme))).adapter_digest == digest
    assert not list((tmp_path / "cache" / "registered").glob(".*"))
