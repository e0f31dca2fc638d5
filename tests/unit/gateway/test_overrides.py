"""Overrides of an assistant: who may, what they change, and that they are recorded."""

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from tandem.feedback.v1.events_pb2 import Interaction
from tandem.gateway.v1 import gateway_service_pb2 as pb
from tandem.generate.v1 import generate_service_pb2 as generate_pb
from tandem.retrieve.v1 import retrieve_service_pb2 as retrieve_pb

from services.common.access import Role
from services.common.identity import system
from services.gateway.domain.assistants import Assistant
from tests.unit.gateway.conftest import bearer

SUPPORT = Assistant("support", instructions="Be kind.", adapter="live", sources=("docs",))


@pytest.fixture
async def support(gateway, behind):
    await gateway.assistants.put(system("acme", "test"), SUPPORT, None)
    behind.passages[:] = [retrieve_pb.Passage(chunk_id="c1", text="Returns within 30 days.", source_name="docs")]
    return gateway


def generated(behind):
    return [request for request in behind.requests if isinstance(request, generate_pb.GenerateRequest)][-1]


def has_searched(behind):
    return any(isinstance(request, retrieve_pb.RetrieveRequest) for request in behind.requests)


async def refused(gateway, metadata, override):
    request = pb.AskRequest(question="How long?", override=override)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        [event async for event in gateway.asking.Ask(request, metadata=metadata)]
    info = error_details_pb2.ErrorInfo()
    assert rpc_status.from_call(caught.value).details[0].Unpack(info)
    return caught.value.code(), info.reason


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        (pb.Override(base_model=True, without_retrieval=True), ("", False)),
        (pb.Override(base_model=True), ("", True)),
        (pb.Override(adapter="candidate", without_retrieval=True), ("candidate", False)),
        (pb.Override(adapter="candidate"), ("candidate", True)),
        (pb.Override(without_retrieval=True), ("live", False)),
    ],
)
async def test_a_trainer_is_answered_with_another_adapter_or_without_searching(
    support, behind, log, override, expected
):
    await support.events(assistant="support", override=override)
    wanted = generated(behind)
    assert (wanted.adapter, has_searched(behind)) == expected
    assert bool(wanted.passages) == has_searched(behind)
    assert wanted.instructions == "Be kind."
    assert Interaction.FromString(log.records[0][2]).overridden


async def test_an_assistant_that_answers_as_it_does_is_not_overridden(support, behind, log):
    await support.events(assistant="support")
    assert generated(behind).adapter == "live"
    assert not Interaction.FromString(log.records[0][2]).overridden


async def test_no_canary_is_drawn_for_what_is_overridden(support, behind):
    await support.events(assistant="support", conversation_id="c1", override=pb.Override(adapter="candidate"))
    assert generated(behind).conversation_id == ""
    await support.events(assistant="support", conversation_id="c1")
    assert generated(behind).conversation_id == "c1"


async def test_an_assistant_without_retrieval_is_given_none(gateway, behind):
    await gateway.assistants.put(system("acme", "test"), Assistant("bare", without_retrieval=True), None)
    await gateway.events(assistant="bare", override=pb.Override(adapter="candidate"))
    assert not has_searched(behind)


async def test_an_override_widens_no_source(support, behind):
    behind.passages.append(retrieve_pb.Passage(chunk_id="c9", text="Not for this assistant.", source_name="secrets"))
    await support.events(assistant="support", override=pb.Override(adapter="candidate"))
    assert [passage.text for passage in generated(behind).passages] == ["Returns within 30 days."]


@pytest.mark.parametrize("role", [Role.READER, Role.CONTRIBUTOR, Role.RATER])
async def test_who_is_no_trainer_overrides_nothing(gateway, behind, log, role):
    metadata = bearer(await gateway.key(roles=frozenset({Role.READER, role})))
    code, reason = await refused(gateway, metadata, pb.Override())
    assert (code, reason) == (grpc.StatusCode.PERMISSION_DENIED, "ROLE_REQUIRED")
    assert (behind.requests, log.records) == ([], [])


@pytest.mark.parametrize(
    "override", [pb.Override(adapter="a", base_model=True), pb.Override(adapter=""), pb.Override(adapter="../a\0")]
)
async def test_an_override_that_nothing_can_answer_is_refused(gateway, behind, override):
    code, reason = await refused(gateway, await gateway.signed_in(), override)
    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_OVERRIDE")
    assert behind.requests == []
