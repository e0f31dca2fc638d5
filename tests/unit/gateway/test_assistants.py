"""Assistants: kept, listed, and refused."""

import grpc
import pytest
from tandem.gateway.v1 import gateway_service_pb2 as pb
from tandem.gateway.v1 import gateway_service_pb2_grpc as rpc

from services.common.identity import system
from services.gateway.domain.assistants import DEFAULT, Assistant, InvalidAssistant, checked, with_default


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
