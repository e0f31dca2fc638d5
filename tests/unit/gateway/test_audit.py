"""What gets into the audit log, when, and what never does."""

import asyncio
import contextlib
import math
from collections.abc import Iterator
from datetime import UTC, datetime

import grpc
import orjson
import pytest
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY
from tandem.common.v1 import access_pb2
from tandem.feedback.v1 import feedback_service_pb2 as feedback_pb
from tandem.feedback.v1 import feedback_service_pb2_grpc as feedback_rpc
from tandem.gateway.v1 import audit_service_pb2, directory_service_pb2, erasure_service_pb2, gateway_service_pb2
from tandem.gateway.v1 import gateway_service_pb2 as pb
from tandem.gateway.v1 import gateway_service_pb2_grpc as rpc
from tandem.generate.v1 import generate_service_pb2
from tandem.ingest.v1 import ingest_service_pb2 as ingest_pb
from tandem.ingest.v1 import ingest_service_pb2_grpc as ingest_rpc
from tandem.ingest.v1 import placement_service_pb2, secret_service_pb2

from services.common.access import Role
from services.common.identity import Identity
from services.common.interceptors import RpcInterceptor
from services.gateway.adapters.audit_writer import AuditWriter, Bounds
from services.gateway.domain.audit import AuditEvent, AuditKind, AuditUnavailable, GivenPassage
from services.gateway.ports import StoreUnavailable
from services.gateway.servicer.access import AccessServicer
from services.gateway.servicer.witness import Witness, is_act, kept_fields
from tests.unit.gateway.conftest import Ledger, Watching

SOON_SECONDS = 5.0
AWAY = StoreUnavailable("the database cannot be reached")
SECRET = "do not keep me"

FILES = (
    audit_service_pb2,
    directory_service_pb2,
    erasure_service_pb2,
    gateway_service_pb2,
    generate_service_pb2,
    ingest_pb,
    placement_service_pb2,
    secret_service_pb2,
    feedback_pb,
)


def methods() -> Iterator[MethodDescriptor]:
    for file in FILES:
        for service in file.DESCRIPTOR.services_by_name.values():
            yield from service.methods


def path_of(method: MethodDescriptor) -> str:
    return f"/{method.containing_service.full_name}/{method.name}"


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


@pytest.fixture
async def watched(starting, behind, log, ledger):
    async with starting(behind, log, watching=Watching(ledger=ledger, bounds=Bounds(act_seconds=0.5))) as gateway:
        yield gateway


@contextlib.asynccontextmanager
async def writing(ledger: Ledger, bounds: Bounds | None = None):
    writer = AuditWriter(ledger.write, bounds)
    task = asyncio.create_task(writer.run())
    await asyncio.sleep(0)
    try:
        yield writer
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(condition) -> None:
    async with asyncio.timeout(SOON_SECONDS):
        while not condition():  # noqa: ASYNC110 - what is awaited is another part's
            await asyncio.sleep(0.005)


def event(rpc: str = "/a.B/C") -> AuditEvent:
    return AuditEvent("acme", datetime.now(UTC), AuditKind.ACT, "key:k", "", rpc, "OK")


async def test_an_act_is_kept_before_its_answer_with_its_caller_and_its_request(watched, ledger):
    assistant = pb.Assistant(name="sales", instructions=SECRET, sources=["a", "b"], top_k=3)
    metadata = (
        *await watched.signed_in(),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    )
    stub = rpc.AssistantServiceStub(watched.channel)
    await stub.PutAssistant(pb.PutAssistantRequest(assistant=assistant), metadata=metadata)
    (kept,) = ledger.events
    assert (kept.tenant_id, kept.kind, kept.code) == ("acme", AuditKind.ACT, "OK")
    assert kept.subject.startswith("key:")
    assert kept.rpc == "/tandem.gateway.v1.AssistantService/PutAssistant"
    assert kept.request == {"assistant": {"name": "sales", "sources": ["a", "b"], "top_k": 3}}
    assert kept.trace_id == "0af7651916cd43dd8448eb211c80319c"


async def test_a_forwarded_act_is_kept_without_its_content(watched, ledger):
    document = ingest_pb.PushedDocument(external_id="d1", content=b"secret bytes")
    document.metadata.update({"note": SECRET})
    request = ingest_pb.PushDocumentsRequest(source="docs", documents=[document])
    with pytest.raises(grpc.aio.AioRpcError):  # the fake behind does not implement it
        await ingest_rpc.IngestServiceStub(watched.channel).PushDocuments(request, metadata=await watched.signed_in())
    (kept,) = ledger.events
    assert (kept.rpc, kept.code) == ("/tandem.ingest.v1.IngestService/PushDocuments", "INTERNAL")
    assert kept.request == {"source": "docs", "documents": [{"external_id": "d1"}]}
    assert "secret" not in repr(kept.request)
    assert SECRET not in repr(kept.request)


async def test_a_failed_act_is_kept_with_its_code(watched, ledger):
    with pytest.raises(grpc.aio.AioRpcError):
        await rpc.AccessServiceStub(watched.channel).RevokeApiKey(
            pb.RevokeApiKeyRequest(key_id="nobodys"), metadata=await watched.signed_in()
        )
    assert [(kept.code, kept.request) for kept in ledger.events] == [("NOT_FOUND", {"key_id": "nobodys"})]


async def test_reads_and_what_readers_and_raters_do_is_no_act(watched, ledger):
    metadata = await watched.signed_in()
    await rpc.AccessServiceStub(watched.channel).ListApiKeys(pb.ListApiKeysRequest(), metadata=metadata)
    await watched.asking.Rate(pb.RateRequest(answer_id="a", thumb=1), metadata=metadata)
    assert not ledger.events


async def test_what_cannot_be_kept_fails_and_says_so(watched, ledger):
    ledger.fault = AWAY
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await rpc.AccessServiceStub(watched.channel).CreateApiKey(
            pb.CreateApiKeyRequest(name="ci"), metadata=await watched.signed_in()
        )
    info = error_details_pb2.ErrorInfo()
    assert rpc_status.from_call(caught.value).details[0].Unpack(info)
    assert (caught.value.code(), info.reason) == (grpc.StatusCode.UNAVAILABLE, "AUDIT_UNAVAILABLE")


async def test_an_export_is_kept_before_its_first_row_leaves_and_without_it_none_does(watched, ledger):
    stub = feedback_rpc.FeedbackServiceStub(watched.channel)
    call = stub.ExportRatings(feedback_pb.ExportRatingsRequest(), metadata=await watched.signed_in())
    await call.read()
    assert [kept.rpc for kept in ledger.events] == ["/tandem.feedback.v1.FeedbackService/ExportRatings"]
    assert [(await call.read()).rating.rating_id for _ in range(2)] == ["r1", "r2"]
    assert await call.read() is grpc.aio.EOF
    assert len(ledger.events) == 1
    ledger.fault = AWAY
    call = stub.ExportRatings(feedback_pb.ExportRatingsRequest(), metadata=await watched.signed_in())
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call.read()
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_who_was_given_which_passages_is_kept_without_a_word_of_them(watched, behind, ledger):
    behind.passages[0].document_id, behind.passages[0].document_version = "d1", 7
    await watched.events(question=f"{SECRET}?")
    await watched.asking.Search(pb.SearchRequest(query=SECRET), metadata=await watched.signed_in())
    await until(lambda: len(ledger.events) == 2)
    assert [kept.rpc.rpartition("/")[2] for kept in ledger.events] == ["Ask", "Search"]
    for kept in ledger.events:
        assert kept.kind is AuditKind.PASSAGES_GIVEN
        assert kept.passages == (GivenPassage("c1", "d1", 7), GivenPassage("c2", "", 0))
        assert not kept.request
        for text in (SECRET, "Shipping", "Orders", "Returns"):
            assert text not in repr(kept)


async def test_an_answer_is_not_delayed_by_a_log_that_is_away(watched, ledger):
    ledger.fault = AWAY
    assert (await watched.events())[-1].HasField("end")
    ledger.fault = None
    await until(lambda: len(ledger.events) == 1)


class Refusing:
    """Knows one caller, who is only a reader."""

    async def __call__(self, metadata):
        return Identity("acme", "user:eve", ("everyone",), frozenset({Role.READER}), "key:app")


async def test_a_refused_act_is_kept(ledger):
    async with writing(ledger) as writer:
        server = grpc.aio.server(interceptors=[RpcInterceptor(Refusing(), Witness(writer))])
        rpc.add_AccessServiceServicer_to_server(AccessServicer(None, None, print), server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await rpc.AccessServiceStub(channel).CreateApiKey(pb.CreateApiKeyRequest(name="mine"))
        await server.stop(None)
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    (kept,) = ledger.events
    assert (kept.code, kept.subject, kept.actor) == ("PERMISSION_DENIED", "user:eve", "key:app")
    assert kept.request == {"name": "mine"}


async def test_an_act_whose_caller_went_away_is_kept(watched, behind, ledger):
    stub = ingest_rpc.IngestServiceStub(watched.channel)
    call = stub.DeleteSource(ingest_pb.DeleteSourceRequest(), metadata=await watched.signed_in())
    await asyncio.wait_for(behind.deleting.wait(), SOON_SECONDS)
    call.cancel()
    await until(lambda: len(ledger.events) == 1)
    assert ledger.events[0].code == "CANCELLED"


async def test_what_waits_is_written_when_the_gateway_stops(ledger):
    async with writing(ledger) as writer:
        for number in range(1000):
            writer.note(event(f"/a.B/{number}"))
    assert [kept.rpc for kept in ledger.events] == [f"/a.B/{number}" for number in range(1000)]


async def test_while_the_database_is_away_events_wait_and_none_is_lost(ledger):
    ledger.fault = AWAY
    async with writing(ledger) as writer:
        for number in range(300):
            writer.note(event(f"/a.B/{number}"))
        with pytest.raises(AuditUnavailable):
            async with asyncio.timeout(SOON_SECONDS):
                await AuditWriter(ledger.write, Bounds(act_seconds=0.01)).keep(event())
        ledger.fault = None
        await until(lambda: len(ledger.events) == 300)
    assert len({kept.rpc for kept in ledger.events}) == 300


@pytest.mark.parametrize("bounds", [Bounds(most_waiting=10), Bounds(give_up_seconds=0)])
async def test_what_is_lost_is_counted(ledger, bounds):
    ledger.fault = AWAY
    before = REGISTRY.get_sample_value("tandem_audit_lost_total")
    async with writing(ledger, bounds) as writer:
        for _ in range(15):
            writer.note(event())
        expected = 5 if bounds.most_waiting == 10 else 15
        await until(lambda: REGISTRY.get_sample_value("tandem_audit_lost_total") == before + expected)
        ledger.fault = None


async def test_events_that_the_database_refuses_do_not_end_the_log(ledger):
    ledger.fault = ValueError("no such value")
    async with writing(ledger) as writer:
        with pytest.raises(AuditUnavailable):
            await writer.keep(event())
        ledger.fault = None
        await writer.keep(event())
    assert len(ledger.events) == 1


def test_acts_are_what_changes_something_and_what_takes_data_out():
    acts = {path_of(method).rpartition("/")[2] for method in methods() if is_act(path_of(method))}
    assert {"CreateApiKey", "RevokeApiKey", "PutAssistant", "EraseUser", "PushDocuments", "LoadAdapter"} <= acts
    assert {"ExportRatings", "ExportAuditEvents", "PutUsers"} <= acts
    assert not acts & {"Ask", "Search", "Rate", "ListApiKeys", "GetCaller", "ListAuditEvents", "WatchErasure"}


def test_every_rpc_that_changes_something_for_more_than_readers_and_raters_is_an_act():
    for method in methods():
        role = method.GetOptions().Extensions[access_pb2.role]
        changes = method.GetOptions().idempotency_level != 1
        if role in {access_pb2.ROLE_CONTRIBUTOR, access_pb2.ROLE_TRAINER, access_pb2.ROLE_ADMIN} and changes:
            assert is_act(path_of(method)), path_of(method)


def test_long_texts_and_lists_are_cut_and_nothing_that_json_or_the_database_refuses_stays():
    request = ingest_pb.PushDocumentsRequest(source="s" * 1000 + "\0")
    assert kept_fields(request) == {"source": "s" * 200}
    many = pb.Assistant(sources=[f"s{number}\0" for number in range(100)])
    assert kept_fields(many) == {"sources": [f"s{number}" for number in range(20)]}
    sampling = generate_service_pb2.Sampling(temperature=math.nan)
    assert orjson.loads(orjson.dumps(kept_fields(sampling))) == {"temperature": "nan"}


MARK = "\u2603secret\u2603"


@st.composite
def filled(draw, message_class: type[Message], depth: int = 3) -> Message:
    """A message whose every field may be set; what is to be redacted, and all bytes, hold MARK."""
    message = message_class()
    for field in message.DESCRIPTOR.fields:
        if not draw(st.booleans()):
            continue
        _fill(draw, message, field, depth)
    return message


def _fill(draw, message: Message, field: FieldDescriptor, depth: int) -> None:
    if field.message_type is not None:
        _fill_message(draw, message, field, depth)
        return
    value = _value(draw, field)
    if field.is_repeated:
        getattr(message, field.name).extend([value] * draw(st.integers(1, 25)))
    else:
        setattr(message, field.name, value)


def _fill_message(draw, message: Message, field: FieldDescriptor, depth: int) -> None:
    if field.message_type.full_name == "google.protobuf.Struct":
        getattr(message, field.name).update({"note": MARK})
        return
    if depth == 0 or field.message_type.GetOptions().map_entry:
        return
    child = draw(filled(GetMessageClass(field.message_type), depth - 1))
    if field.GetOptions().debug_redact:
        _mark(child)
    if field.is_repeated:
        getattr(message, field.name).append(child)
    else:
        getattr(message, field.name).CopyFrom(child)


def _mark(message: Message) -> None:
    """Put MARK into every text of a message that is redacted whole."""
    for field in message.DESCRIPTOR.fields:
        if field.type == FieldDescriptor.TYPE_STRING and not field.is_repeated:
            setattr(message, field.name, MARK)


def _value(draw, field: FieldDescriptor):
    if field.type == FieldDescriptor.TYPE_BYTES:
        return MARK.encode()
    if field.type == FieldDescriptor.TYPE_STRING:
        text = draw(st.text(st.characters(codec="utf-8"), max_size=300)).replace("\u2603", "")
        return MARK if field.GetOptions().debug_redact else text
    values = {
        FieldDescriptor.CPPTYPE_BOOL: st.just(True),
        FieldDescriptor.CPPTYPE_DOUBLE: st.floats(),
        FieldDescriptor.CPPTYPE_FLOAT: st.floats(width=32),
        FieldDescriptor.CPPTYPE_ENUM: st.integers(0, 30),
    }
    return draw(values.get(field.cpp_type, st.integers(0, 2**31 - 1)))


REQUESTS = sorted({method.input_type.full_name: method.input_type for method in methods()}.items())


@pytest.mark.parametrize("descriptor", [descriptor for _, descriptor in REQUESTS], ids=[name for name, _ in REQUESTS])
def test_nothing_that_is_to_be_redacted_is_kept_of_any_request(descriptor):
    @given(message=filled(GetMessageClass(descriptor)))
    @settings(max_examples=25)
    def holds(message: Message) -> None:
        kept = orjson.dumps(kept_fields(message))
        assert MARK.encode() not in kept
        assert b"secret" not in kept
        assert b"\\u0000" not in kept

    holds()
