"""Admin calls on the gateway's own address."""

import asyncio

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from tandem.feedback.v1 import feedback_service_pb2 as feedback_pb
from tandem.feedback.v1 import feedback_service_pb2_grpc as feedback_rpc
from tandem.generate.v1 import generate_service_pb2 as generate_pb
from tandem.generate.v1 import generate_service_pb2_grpc as generate_rpc
from tandem.ingest.v1 import ingest_service_pb2 as ingest_pb
from tandem.ingest.v1 import ingest_service_pb2_grpc as ingest_rpc
from tandem.retrieve.v1 import retrieve_service_pb2 as retrieve_pb
from tandem.retrieve.v1 import retrieve_service_pb2_grpc as retrieve_rpc

from services.common.access import EVERY_ROLE
from services.common.errors import NotFound
from services.common.identity import METADATA_KEY, Identity, IdentitySigner

PLATFORM_KEY = b"k" * 32
SOON_SECONDS = 5.0


class SourceNotFound(NotFound):
    reason = "SOURCE_NOT_FOUND"


async def test_an_admin_call_reaches_the_service_behind_as_the_keys_tenant(gateway, behind):
    ingest = ingest_rpc.IngestServiceStub(gateway.channel)
    answer = await ingest.GetSource(ingest_pb.GetSourceRequest(), metadata=await gateway.signed_in("acme"))
    assert answer.source.name == "docs"
    assert behind.callers[0].tenant_id == "acme"


async def test_metadata_of_the_client_never_reaches_a_service_behind(gateway, behind):
    forged = IdentitySigner(PLATFORM_KEY).sign(Identity("rival", "user:eve", ("everyone",), EVERY_ROLE))
    metadata = (*await gateway.signed_in("acme"), (METADATA_KEY, forged), ("x-tenant", "rival"))
    ingest = ingest_rpc.IngestServiceStub(gateway.channel)
    await ingest.GetSource(ingest_pb.GetSourceRequest(), metadata=metadata)
    assert behind.callers[0].tenant_id == "acme"
    assert "x-tenant" not in behind.metadata[0]
    assert "authorization" not in behind.metadata[0]


async def test_a_trace_is_passed_on(gateway, behind):
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    metadata = (*await gateway.signed_in(), ("traceparent", f"00-{trace_id}-b7ad6b7169203331-01"))
    ingest = ingest_rpc.IngestServiceStub(gateway.channel)
    await ingest.GetSource(ingest_pb.GetSourceRequest(), metadata=metadata)
    assert trace_id in behind.metadata[0]["traceparent"]


async def test_an_error_behind_passes_through_with_its_details(gateway, behind):
    behind.error = SourceNotFound("no such source", source="docs")
    ingest = ingest_rpc.IngestServiceStub(gateway.channel)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await ingest.GetSource(ingest_pb.GetSourceRequest(), metadata=await gateway.signed_in())
    info = error_details_pb2.ErrorInfo()
    assert rpc_status.from_call(caught.value).details[0].Unpack(info)
    assert (caught.value.code(), info.reason) == (grpc.StatusCode.NOT_FOUND, "SOURCE_NOT_FOUND")
    assert (caught.value.details(), dict(info.metadata)) == ("no such source", {"source": "docs"})


async def test_a_stream_is_passed_on_whole(gateway):
    feedback = feedback_rpc.FeedbackServiceStub(gateway.channel)
    call = feedback.ExportRatings(feedback_pb.ExportRatingsRequest(), metadata=await gateway.signed_in())
    assert [answer.rating.rating_id async for answer in call] == ["r0", "r1", "r2"]


async def test_a_stream_behind_stops_when_the_caller_goes_away(gateway, behind):
    behind.hangs = True
    feedback = feedback_rpc.FeedbackServiceStub(gateway.channel)
    call = feedback.ExportRatings(feedback_pb.ExportRatingsRequest(), metadata=await gateway.signed_in())
    for _ in range(3):
        await call.read()
    call.cancel()
    await asyncio.wait_for(behind.cancelled.wait(), SOON_SECONDS)
    assert behind.cancelled.is_set()


async def test_a_forwarded_call_needs_a_key(gateway, behind):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await ingest_rpc.IngestServiceStub(gateway.channel).GetSource(ingest_pb.GetSourceRequest())
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert not behind.requests


async def test_what_is_not_on_the_list_is_not_there(gateway, behind):
    calls = (
        feedback_rpc.FeedbackServiceStub(gateway.channel).Rate(feedback_pb.RateRequest()),
        retrieve_rpc.RetrieveServiceStub(gateway.channel).Retrieve(retrieve_pb.RetrieveRequest()),
        generate_rpc.GenerateServiceStub(gateway.channel).Generate(generate_pb.GenerateRequest()).read(),
        gateway.channel.unary_unary("/tandem.ingest.v1.IngestService/Nothing")(b""),
    )
    for call in calls:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert not behind.requests
