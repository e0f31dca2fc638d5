"""Assistants: kept, listed, and refused."""

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from tandem.gateway.v1 import gateway_service_pb2 as pb
from tandem.gateway.v1 import gateway_service_pb2_grpc as rpc
from tandem.generate.v1 import generate_service_pb2 as generate_pb
from tandem.retrieve.v1 import retrieve_service_pb2 as retrieve_pb

from services.common.identity import system
from services.gateway.domain.assistants import DEFAULT, Assistant, InvalidAssistant, Narrowing, checked, with_default


@pytest.mark.parametrize(
    ("assistant", "field"),
    [
        (Assistant(""), "name"),
        (Assistant("a b"), "name"),
        (Assistant("x" * 101), "name"),
        (Assistant("é"), "name"),
        (Assistant("a", adapter="../x"), "adapter"),
        (Assistant("a", instructions="x" * 8001), "instructions"),
        (Assistant("a", sources=tuple(map(str, range(101)))), "sources"),
        (Assistant("a", sources=("",)), "sources"),
        (Assistant("a", sources=("x\x00",)), "sources"),
        (Assistant("a", top_k=-1), "top_k"),
        (Assistant("a", languages=("fr", "fr")), "languages"),
        (Assistant("a", languages=("french",)), "languages"),
        (Assistant("a", languages=tuple(f"{one}a" for one in "abcdefghijk")), "languages"),
        (Assistant("a", narrowing=Narrowing(kinds=("",))), "filter.kinds"),
        (Assistant("a", narrowing=Narrowing(authors=tuple(map(str, range(101))))), "filter.authors"),
        (Assistant("a", narrowing=Narrowing(metadata=(("x", float("nan")),))), "filter.metadata"),
        (Assistant("a", narrowing=Narrowing(metadata=(("x", "\x00"),))), "filter.metadata"),
        (Assistant("a", narrowing=Narrowing(metadata=tuple((str(n), n) for n in range(21)))), "filter.metadata"),
    ],
)
def test_an_assistant_that_can_never_work_is_refused(assistant, field):
    with pytest.raises(InvalidAssistant) as caught:
        checked(assistant)
    assert caught.value.facts == {"field": field}


def test_what_is_kept_is_clean_and_clipped():
    assert checked(Assistant("a", " Be brief.\x00", top_k=1000)) == Assistant("a", "Be brief.", top_k=100)


@pytest.mark.parametrize(
    ("kept", "after", "limit", "names"),
    [
        ("", "", 3, "default"),
        ("a z", "", 3, "a default z"),
        ("a default", "", 3, "a default"),
        ("a b", "", 2, "a b"),
        ("a z", "", 2, "a default"),
        ("z", "e", 3, "z"),
        ("z", "default", 3, "z"),
    ],
)
def test_default_is_always_listed_once_and_in_its_place(kept, after, limit, names):
    page = with_default([Assistant(name) for name in kept.split()], after, limit)
    assert [assistant.name for assistant in page] == names.split()


async def test_an_assistant_is_kept_replaced_and_listed_for_its_tenant_alone(gateway):
    assistants, metadata = rpc.AssistantServiceStub(gateway.channel), await gateway.signed_in()
    for top_k in (3, 5):
        message = pb.Assistant(name="sales", sources=["wiki"], top_k=top_k)
        await assistants.PutAssistant(pb.PutAssistantRequest(assistant=message), metadata=metadata)
    mine = await assistants.ListAssistants(pb.ListAssistantsRequest(), metadata=metadata)
    theirs = await assistants.ListAssistants(pb.ListAssistantsRequest(), metadata=await gateway.signed_in("rival"))
    assert [(item.name, item.top_k) for item in mine.assistants] == [(DEFAULT, 0), ("sales", 5)]
    assert [item.name for item in theirs.assistants] == [DEFAULT]


async def test_assistants_page_by_name(gateway):
    assistants, metadata = rpc.AssistantServiceStub(gateway.channel), await gateway.signed_in()
    for name in ("b", "Z", "z", "a"):
        await gateway.assistants.put(system("acme", "test"), Assistant(name))
    names, token = [], ""
    while True:
        request = pb.ListAssistantsRequest(page_size=2, page_token=token)
        page = await assistants.ListAssistants(request, metadata=metadata)
        names += [item.name for item in page.assistants]
        token = page.next_page_token
        if not token:
            break
    assert names == ["Z", "a", "b", "default", "z"]


async def test_a_negative_page_size_is_refused(gateway):
    assistants = rpc.AssistantServiceStub(gateway.channel)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await assistants.ListAssistants(pb.ListAssistantsRequest(page_size=-1), metadata=await gateway.signed_in())
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_what_was_put_counts_at_the_next_question(gateway, behind):
    assistants, metadata = rpc.AssistantServiceStub(gateway.channel), await gateway.signed_in()
    for instructions in ("One.", "Two."):
        message = pb.Assistant(name=DEFAULT, instructions=instructions)
        await assistants.PutAssistant(pb.PutAssistantRequest(assistant=message), metadata=metadata)
        await gateway.events()
    assert [request.instructions for request in behind.requests[1::2]] == ["One.", "Two."]


def whole(**fields):
    return pb.Assistant(
        **{
            "name": "sales",
            "instructions": "Be brief.",
            "languages": ["fr"],
            "filter": retrieve_pb.RetrieveFilter(kinds=["page"], authors=["Ada"]),
            "citation_policy": pb.CITATION_POLICY_REQUIRE,
            "answer_length": generate_pb.ANSWER_LENGTH_SHORT,
            "without_abstention": True,
        }
        | fields
    )


@pytest.fixture
async def managing(gateway):
    """Calls AssistantService as acme, or as a tenant."""
    stub = rpc.AssistantServiceStub(gateway.channel)

    async def call(name, request, tenant="acme"):
        return await getattr(stub, name)(request, metadata=await gateway.signed_in(tenant))

    return call


async def refusal(call):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    status = rpc_status.from_call(caught.value)
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    return caught.value.code().name, info.reason, dict(info.metadata)


async def put(managing, *instructions):
    for text in instructions:
        await managing("PutAssistant", pb.PutAssistantRequest(assistant=whole(instructions=text)))


async def test_an_assistant_comes_back_as_it_was_put(managing):
    kept = (await managing("PutAssistant", pb.PutAssistantRequest(assistant=whole(version=9)))).assistant
    found = (await managing("GetAssistant", pb.GetAssistantRequest(name="sales"))).assistant
    assert kept == found
    assert (found.version, found.created_at.seconds > 0) == (1, True)
    found.ClearField("version")
    found.ClearField("created_at")
    assert found == whole()


async def test_versions_are_listed_newest_first_page_by_page(managing):
    await put(managing, "One.", "Two.", "Three.")
    first = await managing("ListAssistantVersions", pb.ListAssistantVersionsRequest(name="sales", page_size=2))
    rest = await managing(
        "ListAssistantVersions",
        pb.ListAssistantVersionsRequest(name="sales", page_size=2, page_token=first.next_page_token),
    )
    assert [each.instructions for each in (*first.assistants, *rest.assistants)] == ["Three.", "Two.", "One."]
    assert not rest.next_page_token


async def test_a_rollback_is_a_new_version_that_says_what_the_old_one_said(managing, gateway, behind):
    await put(managing, "One.", "Two.")
    request = pb.RollbackAssistantRequest(name="sales", version=1)
    for _ in range(2):
        back = (await managing("RollbackAssistant", request)).assistant
        assert (back.version, back.instructions) == (3, "One.")
    await gateway.events(assistant="sales")
    assert behind.requests[-1].instructions == "One."


async def test_a_deleted_assistant_answers_nobody_and_can_be_brought_back(managing, gateway):
    await put(managing, "One.")
    for _ in range(2):
        await managing("DeleteAssistant", pb.DeleteAssistantRequest(name="sales"))
    with pytest.raises(grpc.aio.AioRpcError):
        await gateway.events(assistant="sales")
    old = await managing("GetAssistant", pb.GetAssistantRequest(name="sales", version=1))
    assert old.assistant.instructions == "One."
    await managing("RollbackAssistant", pb.RollbackAssistantRequest(name="sales", version=1))
    assert await gateway.events(assistant="sales")


async def test_default_can_be_read_though_nobody_has_put_it(managing):
    found = (await managing("GetAssistant", pb.GetAssistantRequest())).assistant
    assert (found.name, found.version) == (DEFAULT, 0)


@pytest.mark.parametrize(
    ("name", "request_", "code", "reason"),
    [
        ("GetAssistant", pb.GetAssistantRequest(name="none"), "NOT_FOUND", "ASSISTANT_NOT_FOUND"),
        ("GetAssistant", pb.GetAssistantRequest(name="none", version=1), "NOT_FOUND", "ASSISTANT_NOT_FOUND"),
        ("GetAssistant", pb.GetAssistantRequest(name="\0"), "NOT_FOUND", "ASSISTANT_NOT_FOUND"),
        ("GetAssistant", pb.GetAssistantRequest(name="sales", version=2), "NOT_FOUND", "ASSISTANT_VERSION_NOT_FOUND"),
        ("GetAssistant", pb.GetAssistantRequest(name="sales", version=-1), "NOT_FOUND", "ASSISTANT_VERSION_NOT_FOUND"),
        ("ListAssistantVersions", pb.ListAssistantVersionsRequest(name="none"), "NOT_FOUND", "ASSISTANT_NOT_FOUND"),
        (
            "ListAssistantVersions",
            pb.ListAssistantVersionsRequest(name="sales", page_token="YQ=="),
            "INVALID_ARGUMENT",
            "INVALID_PAGE",
        ),
        ("RollbackAssistant", pb.RollbackAssistantRequest(name="none", version=1), "NOT_FOUND", "ASSISTANT_NOT_FOUND"),
        (
            "RollbackAssistant",
            pb.RollbackAssistantRequest(name="sales"),
            "NOT_FOUND",
            "ASSISTANT_VERSION_NOT_FOUND",
        ),
        ("DeleteAssistant", pb.DeleteAssistantRequest(name="none"), "NOT_FOUND", "ASSISTANT_NOT_FOUND"),
        (
            "PutAssistant",
            pb.PutAssistantRequest(assistant=pb.Assistant(name="sales"), expected_version=0),
            "FAILED_PRECONDITION",
            "ASSISTANT_CHANGED",
        ),
        (
            "RollbackAssistant",
            pb.RollbackAssistantRequest(name="sales", version=1, expected_version=7),
            "FAILED_PRECONDITION",
            "ASSISTANT_CHANGED",
        ),
    ],
)
async def test_what_is_not_there_or_has_changed_is_said_to_be_so(managing, name, request_, code, reason):
    await put(managing, "One.")
    assert (await refusal(managing(name, request_)))[:2] == (code, reason)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"citation_policy": 99}, "citation_policy"),
        ({"answer_length": -1}, "answer_length"),
        ({"filter": retrieve_pb.RetrieveFilter(sources=["wiki"])}, "filter.sources"),
        ({"languages": ["FR"]}, "languages"),
    ],
)
async def test_a_field_that_can_never_work_is_named(managing, fields, field):
    call = managing("PutAssistant", pb.PutAssistantRequest(assistant=whole(**fields)))
    assert await refusal(call) == ("INVALID_ARGUMENT", "INVALID_ASSISTANT", {"field": field})


@pytest.mark.parametrize(
    ("name", "request_"),
    [
        ("GetAssistant", pb.GetAssistantRequest(name="sales")),
        ("GetAssistant", pb.GetAssistantRequest(name="sales", version=1)),
        ("ListAssistantVersions", pb.ListAssistantVersionsRequest(name="sales")),
        ("RollbackAssistant", pb.RollbackAssistantRequest(name="sales", version=1)),
        ("DeleteAssistant", pb.DeleteAssistantRequest(name="sales")),
    ],
)
async def test_another_tenants_assistant_is_not_found(managing, name, request_):
    await put(managing, "One.")
    assert (await refusal(managing(name, request_, "rival")))[:2] == ("NOT_FOUND", "ASSISTANT_NOT_FOUND")
    assert (await managing("GetAssistant", pb.GetAssistantRequest(name="sales"))).assistant.instructions == "One."
