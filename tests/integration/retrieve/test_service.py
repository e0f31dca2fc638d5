"""The service answers over gRPC, on a real Milvus, and says what is wrong when it cannot."""

import asyncio
import contextlib
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from pymilvus import MilvusException
from tandem.retrieve.v1 import retrieve_service_pb2 as pb
from tandem.retrieve.v1 import retrieve_service_pb2_grpc
from tandem.retrieve.v1 import tuning_service_pb2 as tuning_pb

from services.cli import parts
from services.common import index
from services.common.access import EVERY_ROLE
from services.common.client import open_channel
from services.common.identity import Identity, set_caller
from services.common.permissions import PermissionsUnavailable, open_permissions
from services.retrieve.adapters.embedder import GrpcQueryEmbedder
from services.retrieve.adapters.milvus import MilvusPassageIndex
from tests.conftest import free_address, running, wait_for_port
from tests.integration.retrieve.conftest import (
    ADA,
    KEY,
    MODEL,
    VECTORS,
    Caller,
    embed_server,
    reason_of,
    retrieve_server,
    write,
)
from tests.unit.retrieve.faces import faces_of
from tests.unit.retrieve.rows import row, search


def passage_row(chunk_id, text, **facts):
    return row(chunk_id, text, **{"dense": VECTORS.vector_of(text)} | facts)


async def test_a_question_finds_the_passage_that_answers_it(service, milvus_uri, embedder, manifest):
    await write(
        milvus_uri,
        manifest,
        "acme",
        [passage_row("returns", "Returns are free for 30 days."), passage_row("hours", "We open at nine.")],
    )
    answer = await service.retrieve("returns free")
    assert answer.passages[0].text == "Returns are free for 30 days."
    assert (answer.index_version, answer.model) == (index.collection_of("acme", MODEL), MODEL)
    # Whom a text is embedded for is told, as whom they may read is not.
    assert embedder.callers == [replace(ADA, principals=())]


async def test_who_may_not_read_a_passage_does_not_get_it(service, milvus_uri, manifest):
    await write(milvus_uri, manifest, "hr", [passage_row("salaries", "Salaries of all", readers=["user:boss"])])
    boss = Identity("hr", "user:boss", ("everyone", "user:boss"), EVERY_ROLE)
    clerk = Identity("hr", "user:clerk", ("everyone", "user:clerk"), EVERY_ROLE)
    nobody = Identity("hr", "key:1", (), EVERY_ROLE)
    assert [len((await service.retrieve("salaries", one)).passages) for one in (boss, clerk, nobody)] == [1, 0, 0]


async def test_a_revocation_counts_from_the_moment_the_manifest_has_it(service, milvus_uri, manifest):
    reader = Identity("revoking", "user:r", ("user:r",), EVERY_ROLE)
    await write(milvus_uri, manifest, "revoking", [passage_row("plan", "The plan", readers=["user:r"])])
    assert [one.restricted for one in (await service.retrieve("plan", reader)).passages] == [True]
    await manifest.put("revoking", "doc-plan", "user:other")
    assert not (await service.retrieve("plan", reader)).passages


@pytest.mark.parametrize("state", ["deleting", "deleted", "failed"])
async def test_what_is_on_its_way_out_is_not_shown_though_the_index_has_it(service, milvus_uri, manifest, state):
    reader = Identity(f"leaving-{state}", "user:r", ("everyone",), EVERY_ROLE)
    await write(milvus_uri, manifest, reader.tenant_id, [passage_row(state, "Leaving")])
    assert len((await service.retrieve("leaving", reader)).passages) == 1
    await manifest.put(reader.tenant_id, f"doc-{state}", "everyone", state=state)
    assert not (await service.retrieve("leaving", reader)).passages


async def test_a_reader_with_thousands_of_principals_finds_what_one_of_them_or_their_sets_may_read(
    service, milvus_uri, manifest
):
    groups = [f"group:{number:05}-{'x' * 40}" for number in range(5000)]
    reader = Identity("crowded", "user:r", ("everyone", "user:r", *groups), EVERY_ROLE)
    rows = [passage_row("group", "group", readers=[groups[-1]]), passage_row("set", "set", readers=["set:all"])]
    await write(milvus_uri, manifest, "crowded", [*rows, passage_row("not", "not", readers=["group:other"])])
    await manifest.put("crowded", "doc-set", groups[0])
    await manifest.put_set("crowded", "all", groups[0])
    assert {one.chunk_id for one in (await service.retrieve("group", reader)).passages} == {"group", "set"}


async def test_without_the_manifest_nothing_is_shown_and_the_reason_is_named(milvus_uri, manifest, embedder):
    await write(milvus_uri, manifest, "acme", [passage_row("public", "public")])
    nowhere = "postgresql+asyncpg://nobody@127.0.0.1:9/none"
    passages = MilvusPassageIndex(index.open_milvus(milvus_uri))
    async with embed_server(embedder) as address, open_channel(address) as channel, open_permissions(nowhere) as away:
        servicer = faces_of(GrpcQueryEmbedder(channel), passages, away).retrieve
        set_caller(ADA)
        with pytest.raises(PermissionsUnavailable) as refused:
            await servicer.Retrieve(pb.RetrieveRequest(query="public"), Call())
    assert (refused.value.code, refused.value.reason) == (grpc.StatusCode.UNAVAILABLE, "PERMISSIONS_UNAVAILABLE")


class Call:
    """What a servicer needs of gRPC's context."""

    def time_remaining(self):
        return None


async def test_a_tenant_without_documents_gets_an_empty_answer_until_it_has_some(service, milvus_uri, manifest):
    newcomer = Identity("newcomer", "user:n", ("everyone",), EVERY_ROLE)
    answer = await service.retrieve("anything", newcomer)
    assert (len(answer.passages), answer.index_version) == (0, "")
    await write(milvus_uri, manifest, "newcomer", [passage_row("first", "anything")])
    assert [one.chunk_id for one in (await service.retrieve("anything", newcomer)).passages] == ["first"]


@pytest.mark.parametrize(
    ("request_fields", "reason"),
    [
        ({"query": ""}, "EMPTY_QUERY"),
        ({"query": "\x00\x1b\x7f \n"}, "EMPTY_QUERY"),
        ({"query": "x" * 100_000}, "QUERY_TOO_LONG"),
        ({"query": "x", "top_k": -1}, "INVALID_TOP_K"),
        ({"query": "x", "filter": {"sources": ["s"] * 101}}, "INVALID_FILTER"),
        ({"query": "x", "filter": {"changed_after": {"seconds": 2**60}}}, "INVALID_FILTER"),
    ],
)
async def test_a_request_that_can_never_work_is_refused_with_its_reason(service, request_fields, reason):
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await service.retrieve(**request_fields)
    assert (raised.value.code(), reason_of(raised.value)) == (grpc.StatusCode.INVALID_ARGUMENT, reason)


async def test_a_huge_top_k_is_clipped(service, milvus_uri, manifest):
    await write(milvus_uri, manifest, "many", [passage_row(f"c{number}", f"text {number}") for number in range(150)])
    answer = await service.retrieve("text", Identity("many", "user:m", ("everyone",), EVERY_ROLE), top_k=2**31 - 1)
    assert len(answer.passages) == 100


async def test_a_call_without_an_identity_is_refused(service, embedder):
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await service.retrieve("x", None)
    assert (raised.value.code(), reason_of(raised.value)) == (grpc.StatusCode.UNAUTHENTICATED, "IDENTITY_MISSING")
    assert embedder.callers == []


async def test_a_short_deadline_ends_the_call_and_only_it(service, embedder):
    embedder.delay_seconds = 5.0
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await service.retrieve("x", timeout=0.05)
    assert raised.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    embedder.delay_seconds = 0.0
    assert (await service.retrieve("x")).model == MODEL


async def test_a_full_embedder_is_passed_on_as_it_says(service, embedder):
    embedder.refusal = grpc.StatusCode.RESOURCE_EXHAUSTED
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await service.retrieve("x")
    assert raised.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_an_embedder_that_is_away_is_named_and_found_again(milvus_uri, embedder, manifest):
    address = free_address()
    async with contextlib.AsyncExitStack() as stack:
        first = await stack.enter_async_context(contextlib.AsyncExitStack())
        await first.enter_async_context(embed_server(embedder, address))
        service = await stack.enter_async_context(retrieve_server(milvus_uri, address, manifest.url))
        assert (await service.retrieve("x")).model == MODEL
        await first.aclose()
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await service.retrieve("x")
        assert (raised.value.code(), reason_of(raised.value)) == (grpc.StatusCode.UNAVAILABLE, "EMBEDDER_UNAVAILABLE")
        await stack.enter_async_context(embed_server(embedder, address))
        assert await eventually(service) == MODEL


async def test_milvus_killed_is_named_and_its_restart_is_enough(tmp_path, embedder, manifest):
    address = free_address()
    command, uri = parts.milvus(tmp_path / "milvus.db", address), f"http://{address}"
    async with contextlib.AsyncExitStack() as stack:
        with running(command, tmp_path / "log") as process:
            wait_for_port(address, process)
            await write(uri, manifest, "acme", [passage_row("kept", "kept over the restart")])
            embed_address = await stack.enter_async_context(embed_server(embedder))
            service = await stack.enter_async_context(retrieve_server(uri, embed_address, manifest.url))
            assert len((await service.retrieve("kept")).passages) == 1
            process.kill()
            process.wait()
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await service.retrieve("kept")
            assert (raised.value.code(), reason_of(raised.value)) == (grpc.StatusCode.UNAVAILABLE, "INDEX_UNAVAILABLE")
        with running(command, tmp_path / "log") as process:
            wait_for_port(address, process)
            await eventually(service)
            assert [one.chunk_id for one in (await service.retrieve("kept")).passages] == ["kept"]


async def test_a_milvus_that_hangs_does_not_hang_the_caller(tmp_path, embedder, manifest):
    address = free_address()
    with running(parts.milvus(tmp_path / "milvus.db", address), tmp_path / "log") as process:
        wait_for_port(address, process)
        uri = f"http://{address}"
        await write(uri, manifest, "acme", [passage_row("one", "one")])
        async with (
            embed_server(embedder) as embed_address,
            retrieve_server(uri, embed_address, manifest.url) as service,
        ):
            os.kill(process.pid, signal.SIGSTOP)
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await service.retrieve("one", timeout=0.05)
            assert raised.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await service.retrieve("one", timeout=30)
            assert reason_of(raised.value) == "INDEX_UNAVAILABLE"
            os.kill(process.pid, signal.SIGCONT)
            assert len((await service.retrieve("one")).passages) == 1


async def test_a_collection_that_milvus_forgot_to_load_is_loaded(milvus_uri, manifest):
    await write(milvus_uri, manifest, "unloaded", [passage_row("one", "one")])
    client = Unloaded(index.open_milvus(milvus_uri))
    passages = MilvusPassageIndex(client)
    found = await passages.search(search("one", VECTORS.vector_of("one"), tenant_id="unloaded", model=MODEL))
    assert [hit.chunk_id for hit in found.hits] == ["one"]
    await client.close()


class Unloaded:
    """A client of a Milvus that was restarted: as the distributed one, it has to be told to load."""

    def __init__(self, client):
        self._client = client
        self._loaded = False

    async def search(self, *args, **kwargs):
        if not self._loaded:
            raise MilvusException(101, "collection not loaded")
        return await self._client.search(*args, **kwargs)

    async def load_collection(self, *args, **kwargs):
        await self._client.load_collection(*args, **kwargs)
        self._loaded = True

    async def close(self):
        await self._client.close()


async def test_the_process_serves_and_stops_when_told(milvus_uri, embedder, tmp_path, manifest):
    await write(milvus_uri, manifest, "process", [passage_row("one", "one")])
    address = free_address()
    async with embed_server(embedder) as embed_address:
        command = parts.Command(
            "retrieve",
            (sys.executable, "-m", "services.retrieve"),
            {
                "PYTHONPATH": os.pathsep.join(map(str, (Path.cwd(), Path.cwd() / "gen"))),
                "TANDEM_IDENTITY_KEY": KEY.decode(),
                "RETRIEVE_ADDRESS": address,
                "RETRIEVE_DATABASE_URL": manifest.url,
                "RETRIEVE_MILVUS_URI": milvus_uri,
                "RETRIEVE_EMBED_ADDRESS": embed_address,
            },
        )
        with running(command, tmp_path / "log") as process:
            async with grpc.aio.insecure_channel(address) as channel:
                await until_serving(channel)
                caller = Caller(retrieve_service_pb2_grpc.RetrieveServiceStub(channel), None)
                answer = await caller.retrieve(
                    "a secret question", Identity("process", "user:p", ("everyone",), EVERY_ROLE)
                )
            assert len(answer.passages) == 1
            process.terminate()
            assert await asyncio.to_thread(process.wait, 20) == 0
    log = (tmp_path / "log").read_text()
    assert "rpc_finished" in log
    assert "secret" not in log


async def until_serving(channel):
    health = health_pb2_grpc.HealthStub(channel)
    async with asyncio.timeout(30):
        while True:
            try:
                answer = await health.Check(health_pb2.HealthCheckRequest(), wait_for_ready=True)
            except grpc.aio.AioRpcError:
                continue
            if answer.status == health_pb2.HealthCheckResponse.SERVING:
                return
            await asyncio.sleep(0.05)


async def eventually(service):
    """Return the model of the first answer."""
    async with asyncio.timeout(20):
        while True:
            try:
                return (await service.retrieve("x")).model
            except grpc.aio.AioRpcError as error:
                if error.code() != grpc.StatusCode.UNAVAILABLE:
                    raise
            await asyncio.sleep(0.1)


async def test_passages_are_read_again_until_they_may_not_be(service, milvus_uri, manifest):
    reader = Identity("again", "user:r", ("everyone",), EVERY_ROLE)
    await write(milvus_uri, manifest, "again", [passage_row("again-1", "one"), passage_row("again-2", "two")])
    request = pb.GetPassagesRequest(chunk_ids=["again-2", "none", "again-1"])
    answer = await service.call(service.stub.GetPassages, request, reader)
    assert [one.text for one in answer.passages] == ["two", "one"]
    await manifest.put("again", "doc-again-2", "user:other")
    answer = await service.call(service.stub.GetPassages, request, reader)
    assert [one.chunk_id for one in answer.passages] == ["again-1"]
    newcomer = replace(reader, tenant_id="again-nobody")
    assert (await service.call(service.stub.GetPassages, request, newcomer)).index_version == ""


async def test_a_section_is_read_from_the_index(service, milvus_uri, manifest):
    reader = Identity("wide", "user:r", ("everyone",), EVERY_ROLE)
    chunks = [
        passage_row(
            f"wide-{number}",
            f"part {number} ",
            document_id="wide-d",
            ordinal=number,
            start_offset=number * 7,
            end_offset=number * 7 + 7,
            section_first=0,
            section_last=3,
        )
        for number in range(4)
    ]
    await write(milvus_uri, manifest, "wide", chunks)
    (passage,) = (await service.retrieve("part 2", reader, top_k=1, widen=True)).passages
    assert passage.text == "part 0 part 1 part 2 part 3 "
    assert (passage.start_offset, passage.end_offset) == (0, 28)


async def test_a_tuning_is_obeyed_as_soon_as_it_is_put(service, milvus_uri, manifest):
    reader = Identity("tuned", "user:r", ("everyone",), EVERY_ROLE)
    rows = [
        passage_row("tuned-1", "red kettle", source_name="Wiki"),
        passage_row("tuned-2", "red pot", source_name="Drive"),
    ]
    await write(milvus_uri, manifest, "tuned", rows)
    assert (await service.retrieve("red kettle", reader)).passages[0].chunk_id == "tuned-1"
    weights = [tuning_pb.SourceWeight(source="Drive", weight=100)]
    put = tuning_pb.PutTuningRequest(tuning=tuning_pb.Tuning(source_weights=weights))
    assert (await service.call(service.tuning.PutTuning, put, reader)).tuning.version == 1
    answer = await service.retrieve("red kettle", reader)
    assert (answer.passages[0].chunk_id, answer.tuning_version) == ("tuned-2", 1)
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await service.call(service.tuning.PutTuning, put, reader)
    assert (raised.value.code(), reason_of(raised.value)) == (grpc.StatusCode.FAILED_PRECONDITION, "TUNING_CHANGED")
