"""Answers under an alias: whom they are recorded for, and who is told when one fails."""

import grpc
import pytest
from tandem.feedback.v1.events_pb2 import Interaction
from tandem.gateway.v1 import gateway_service_pb2 as pb
from tandem.generate.v1.events_pb2 import AnswerFailed

from services.common.errors import NotFound, ResourceExhausted, Unavailable

DIGEST = "sha256:" + "a" * 64
SERVING = {"adapter_alias": "support", "adapter_digest": DIGEST, "canary_id": "c1", "canary": True}


class EngineDead(Unavailable):
    reason = "ENGINE_DEAD"


class EngineBusy(ResourceExhausted):
    reason = "ENGINE_BUSY"


class AdapterNotFound(NotFound):
    reason = "ADAPTER_NOT_FOUND"


async def ends_badly(gateway, **request):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await gateway.events(**request)
    return caught.value.code()


def failures(log):
    return [AnswerFailed.FromString(value) for _, _, value in log.failures]


async def test_an_answer_is_recorded_for_whom_the_engine_says_that_it_answered(gateway, behind, log):
    behind.serving = SERVING
    await gateway.events(conversation_id="talk")
    (record,) = (Interaction.FromString(value) for _, _, value in log.records)
    assert (record.adapter_alias, record.adapter_digest) == ("support", DIGEST)
    assert (record.canary_id, record.canary, record.overridden) == ("c1", True, False)
    assert not log.failures


async def test_the_engine_is_told_the_conversation_also_where_the_caller_names_none(gateway, behind):
    events = await gateway.events()
    told = behind.requests[-1].conversation_id
    assert told == next(event.end.conversation_id for event in events if event.HasField("end")) != ""
    await gateway.events(conversation_id="talk")
    assert behind.requests[-1].conversation_id == "talk"


async def test_an_answer_that_breaks_off_is_told_of_under_its_alias_and_its_canary(gateway, behind, log):
    behind.serving, behind.breaks = SERVING, EngineDead("the engine has stopped")
    assert await ends_badly(gateway, conversation_id="talk") is grpc.StatusCode.UNAVAILABLE
    (failed,) = failures(log)
    assert (failed.tenant_id, failed.conversation_id, failed.alias) == ("acme", "talk", "support")
    assert (failed.adapter_digest, failed.canary_id, failed.canary) == (DIGEST, "c1", True)
    assert (failed.reason, failed.HasField("failed_at")) == ("ENGINE_DEAD", True)
    assert not log.records


async def test_an_answer_that_never_begins_is_told_of_by_what_the_error_says(gateway, behind, log):
    facts = {"alias": "support", "adapter_digest": DIGEST, "canary_id": "c1", "canary": "true"}
    behind.error = EngineDead("the engine has stopped", **facts)
    await ends_badly(gateway, conversation_id="talk")
    (failed,) = failures(log)
    assert (failed.alias, failed.adapter_digest, failed.canary_id, failed.canary) == ("support", DIGEST, "c1", True)


async def test_an_answer_that_ends_without_its_end_has_failed(gateway, behind, log):
    behind.serving, behind.finishes = {"adapter_alias": "support"}, False
    await ends_badly(gateway)
    (failed,) = failures(log)
    assert (failed.alias, failed.canary_id, failed.canary, failed.reason) == ("support", "", False, "ANSWER_INCOMPLETE")


async def test_what_nobody_expected_is_told_of_without_its_words(gateway, behind, log):
    behind.serving, behind.breaks = SERVING, RuntimeError("secret")
    await ends_badly(gateway)
    (failed,) = failures(log)
    assert failed.reason == "INTERNAL"


@pytest.mark.parametrize(
    "error",
    [EngineBusy("too many wait", alias="support"), AdapterNotFound("no such adapter", alias="support")],
)
async def test_a_refusal_is_no_failure(gateway, behind, log, error):
    behind.error = error
    await ends_badly(gateway)
    assert not log.failures


async def test_a_failure_under_no_alias_concerns_nobody(gateway, behind, log):
    behind.breaks = EngineDead("the engine has stopped")
    await ends_badly(gateway)
    assert not log.failures


async def test_a_caller_that_leaves_is_no_failure(gateway, behind, log):
    behind.serving, behind.hangs = SERVING, True
    call = gateway.asking.Ask(pb.AskRequest(question="When?"), metadata=await gateway.signed_in())
    async for event in call:
        if event.HasField("token_delta"):
            call.cancel()
            break
    await behind.cancelled.wait()
    assert not log.failures
