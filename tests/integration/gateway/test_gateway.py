"""The gateway's process: keys from the command line, answers recorded, replicas, and faults."""

import asyncio
import contextlib
import time
from functools import partial

import grpc
import jwt
import pytest
from google.rpc import error_details_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_status import rpc_status
from kafka import KafkaConsumer
from tandem.feedback.v1.events_pb2 import Interaction
from tandem.gateway.v1 import directory_service_pb2 as people_pb
from tandem.gateway.v1 import directory_service_pb2_grpc as people_rpc
from tandem.gateway.v1 import gateway_service_pb2 as pb
from tandem.gateway.v1 import gateway_service_pb2_grpc as rpc

from services.cli import parts
from services.common.answer_ids import AnswerIds
from services.common.bus import INTERACTIONS
from services.common.client import open_channel
from tests.conftest import free_address, running, wait_for_port
from tests.integration.gateway.conftest import PLATFORM_KEY, until_serving

RECOVERY_SECONDS = 20.0
REVOCATION_SECONDS = 1.0


def bearer(credential):
    return (("authorization", f"Bearer {credential}"),)


async def ask(channel, credential, **request):
    request.setdefault("question", "When can I return it?")
    call = rpc.GatewayServiceStub(channel).Ask(pb.AskRequest(**request), metadata=bearer(credential))
    return [event async for event in call]


async def code_of(awaitable):
    try:
        await awaitable
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


async def until_answered(channel, credential):
    while await code_of(ask(channel, credential)) is not grpc.StatusCode.OK:  # noqa: ASYNC110 - another process tells nobody
        await asyncio.sleep(0.2)


def recorded(bus):
    """Return every interaction on the topic, by conversation, with its key and headers."""
    consumer = KafkaConsumer(
        INTERACTIONS, bootstrap_servers=bus, auto_offset_reset="earliest", consumer_timeout_ms=3000, group_id=None
    )
    with contextlib.closing(consumer):
        found = [(Interaction.FromString(record.value), record.key, dict(record.headers)) for record in consumer]
    return {interaction.conversation_id: (interaction, *rest) for interaction, *rest in found}


async def test_an_answer_is_on_the_topic_when_it_ends(deployment, bus):
    credential = await asyncio.to_thread(deployment.bootstrap)
    with deployment.replica() as address:
        async with open_channel(address) as channel:
            await until_serving(channel)
            events = await ask(channel, credential, conversation_id="")
    end = events[-1].end
    interaction, key, headers = (await asyncio.to_thread(recorded, bus))[end.conversation_id]
    assert AnswerIds(PLATFORM_KEY.encode()).read("acme", end.answer_id) == interaction.interaction_id
    assert key == f"acme/{end.conversation_id}".encode()
    assert interaction.trace_id in headers["traceparent"].decode()
    assert int(interaction.trace_id, 16)
    assert [event.WhichOneof("event") for event in events] == [
        "retrieval_done",
        "token_delta",
        "citations",
        "usage",
        "end",
    ]


async def test_an_override_is_a_trainers_and_is_recorded_as_one(deployment, bus):
    reader = await asyncio.to_thread(deployment.bootstrap, "acme", "reads", "--role", "reader")
    trainer = await asyncio.to_thread(deployment.bootstrap, "acme", "trains", "--role", "reader", "--role", "trainer")
    override = pb.Override(base_model=True, without_retrieval=True)
    with deployment.replica() as address:
        async with open_channel(address) as channel:
            await until_serving(channel)
            assert await code_of(ask(channel, reader, override=override)) is grpc.StatusCode.PERMISSION_DENIED
            overridden = (await ask(channel, trainer, override=override))[-1].end
            plain = (await ask(channel, trainer))[-1].end
    found = await asyncio.to_thread(recorded, bus)
    assert [found[end.conversation_id][0].overridden for end in (overridden, plain)] == [True, False]
    assert not found[overridden.conversation_id][0].passages


async def test_a_revocation_counts_on_every_replica_within_a_second(deployment):
    credential, admin = [await asyncio.to_thread(deployment.bootstrap) for _ in range(2)]
    search = pb.SearchRequest(query="returns")
    with deployment.replica() as here, deployment.replica() as there:
        async with open_channel(here) as one, open_channel(there) as other:
            for channel in (one, other):
                await until_serving(channel)
                await rpc.GatewayServiceStub(channel).Search(search, metadata=bearer(credential))
            request = pb.RevokeApiKeyRequest(key_id=credential.split("_")[1])
            await rpc.AccessServiceStub(one).RevokeApiKey(request, metadata=bearer(admin))
            async with asyncio.timeout(REVOCATION_SECONDS):
                for channel in (one, other):
                    call = partial(rpc.GatewayServiceStub(channel).Search, search, metadata=bearer(credential))
                    while await code_of(call()) is not grpc.StatusCode.UNAUTHENTICATED:
                        pass


async def test_who_leaves_a_group_reads_as_its_member_for_less_than_a_second_on_every_replica(deployment):
    app = await asyncio.to_thread(deployment.bootstrap, "people", "app", "--acts-for-users")
    now = int(time.time())
    claims = {"sub": "ada", "iat": now, "exp": now + 300, "aud": "tandem"}
    carried = (*bearer(app), ("tandem-on-behalf-of", jwt.encode(claims, app, "HS256")))

    async def is_member(channel):
        who = await rpc.AccessServiceStub(channel).GetCaller(pb.GetCallerRequest(), metadata=carried)
        return "group:above" in who.principals

    groups = [
        people_pb.Group(group_id="hr", members=["user:ada"]),
        people_pb.Group(group_id="above", members=["group:hr"]),
    ]
    with deployment.replica() as here, deployment.replica() as there:
        async with open_channel(here) as one, open_channel(there) as other:
            for channel in (one, other):
                await until_serving(channel)
            people = people_rpc.DirectoryServiceStub(one)
            await people.PutGroups(people_pb.PutGroupsRequest(groups=groups), metadata=bearer(app))
            assert [await is_member(channel) for channel in (one, other)] == [True, True]
            change = people_pb.ChangeMembersRequest(group_id="hr", remove=["user:ada"])
            await people.ChangeMembers(change, metadata=bearer(app))
            assert not await is_member(one)
            async with asyncio.timeout(REVOCATION_SECONDS):
                while await is_member(other):
                    pass


async def test_without_the_event_log_no_answer_ends_and_with_it_again_they_do(deployment, tmp_path):
    credential = await asyncio.to_thread(deployment.bootstrap)
    bus, log = free_address(), tmp_path / "broker.log"
    with contextlib.ExitStack() as stack:
        with running(parts.broker(bus), log) as broker:
            wait_for_port(bus, broker)
            address = stack.enter_context(deployment.replica(GATEWAY_BUS=bus, GATEWAY_RECORD_SECONDS="5"))
            channel = open_channel(address)
            await until_serving(channel)
            await ask(channel, credential)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await ask(channel, credential)
        info = error_details_pb2.ErrorInfo()
        assert rpc_status.from_call(caught.value).details[0].Unpack(info)
        assert (caught.value.code(), info.reason) == (grpc.StatusCode.UNAVAILABLE, "BUS_UNAVAILABLE")
        with running(parts.broker(bus), log) as broker:
            wait_for_port(bus, broker)
            await asyncio.wait_for(until_answered(channel, credential), RECOVERY_SECONDS)
            assert await code_of(ask(channel, credential)) is grpc.StatusCode.OK
        await channel.close()


async def test_reflection_lists_what_is_forwarded_too(deployment):
    with deployment.replica() as address:
        async with open_channel(address) as channel:
            await until_serving(channel)
        with grpc.insecure_channel(address) as channel:
            names = await asyncio.to_thread(lambda: ProtoReflectionDescriptorDatabase(channel).get_services())
    assert {
        "tandem.gateway.v1.GatewayService",
        "tandem.gateway.v1.AccessService",
        "tandem.gateway.v1.AssistantService",
        "tandem.ingest.v1.IngestService",
        "tandem.generate.v1.AdapterService",
        "tandem.feedback.v1.FeedbackService",
        "tandem.tune.v1.TuningService",
    } <= set(names)
