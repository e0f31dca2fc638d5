"""What was asked and answered is shown again only to whom its documents may be shown now."""

import grpc
import pytest
from tandem.feedback.v1 import events_pb2
from tandem.feedback.v1 import feedback_service_pb2 as pb

from tests.conftest import free_address
from tests.integration.feedback.running import Process, called_by, interaction, publish, stub_of, tenant, until
from tests.integration.feedback.test_service import exported, listed, passage_of, refused

SECRET = "the plan is to move"


def about(name, interaction_id, *documents, **fields):
    """An interaction whose every text is a secret of the documents."""
    passages = [passage_of(f"{name}-{document}", title=SECRET) for document in documents]
    texts = {"question": SECRET, "answer": SECRET, "prompt": SECRET}
    return interaction(name, interaction_id, passages=passages, prompt_tokens=7, **texts | fields)


async def conversation(stub, who):
    try:
        answer = await stub.GetConversation(pb.GetConversationRequest(conversation_id="talk"), **who)
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.NOT_FOUND:
            raise
        return {}
    return {message.interaction_id: message for message in answer.interactions}


async def shown_everywhere(stub, who):
    """Every interaction that any RPC shows, as (id, withheld)."""
    talk = (await conversation(stub, who)).values()
    page = (await stub.ListInteractions(pb.ListInteractionsRequest(), **who)).interactions
    rated = [answer.interaction for answer in await exported(stub, who)]
    return [{one.interaction_id: one.withheld for one in found} for found in (talk, page, rated)]


async def rated(stub, answer_ids, name, interaction_id, who):
    opinion = {"thumb": events_pb2.THUMB_UP, "comment": SECRET, "correction": SECRET}
    request = pb.RateRequest(answer_id=answer_ids.mint(name, interaction_id), **opinion)
    return (await stub.Rate(request, **who)).rating


async def test_a_revocation_withholds_an_answer_wherever_it_is_shown_again(stub, bus, manifest, answer_ids):
    name = tenant()
    who = called_by(name)
    await manifest.put(name, f"{name}-own", "user:ada")
    await manifest.put(name, f"{name}-public", "everyone")
    await publish(bus, about(name, "i1", "public", "own"), about(name, "i2", "public"), interaction(name, "i3"))
    await listed(stub, who, 3)
    for one in ("i1", "i2", "i3"):
        await rated(stub, answer_ids, name, one, who)
    assert await shown_everywhere(stub, who) == [{"i1": False, "i2": False, "i3": False}] * 3
    await manifest.put(name, f"{name}-own", "user:bob")
    assert await shown_everywhere(stub, who) == [{"i1": True, "i2": False, "i3": False}] * 3
    await manifest.delete(f"{name}-public")
    assert await shown_everywhere(stub, who) == [{"i1": True, "i2": True, "i3": False}] * 3


async def test_what_is_withheld_keeps_its_ids_times_and_tokens_and_no_text(stub, bus, answer_ids):
    name = tenant()
    who = called_by(name)
    await publish(bus, about(name, "i1", "gone", history_document_ids=["d"]))
    (found,) = await listed(stub, who, 1)
    assert (found.interaction_id, found.conversation_id, found.subject) == ("i1", "talk", "user:ada")
    assert (found.withheld, found.prompt_tokens, found.asked_at.seconds) == (True, 7, 1_790_000_000)
    await rated(stub, answer_ids, name, "i1", who)
    (rating,) = (await stub.ListRatings(pb.ListRatingsRequest(), **who)).ratings
    assert (rating.withheld, rating.thumb, rating.comment, rating.correction) == (True, events_pb2.THUMB_UP, "", "")
    (answer,) = await exported(stub, who)
    assert answer.rating == rating
    for message in (found, rating, answer):
        assert SECRET.encode() not in message.SerializeToString()
        assert b"gone" not in message.SerializeToString()


async def test_a_trainer_sees_of_others_only_what_the_trainer_may_read(stub, bus, manifest, answer_ids):
    name = tenant()
    await manifest.put(name, f"{name}-theirs", "user:ada")
    await manifest.put(name, f"{name}-both", "user:ada", "user:trainer")
    await publish(bus, about(name, "i1", "theirs"), about(name, "i2", "both"))
    await listed(stub, called_by(name), 2)
    for one in ("i1", "i2"):
        await rated(stub, answer_ids, name, one, called_by(name))
    trainer = called_by(name, "user:trainer")
    ratings = (await stub.ListRatings(pb.ListRatingsRequest(), **trainer)).ratings
    assert {one.interaction_id: one.withheld for one in ratings} == {"i1": True, "i2": False}
    assert (await shown_everywhere(stub, trainer))[1:] == [{"i1": True, "i2": False}] * 2


async def test_a_rating_of_an_answer_that_is_not_recorded_is_shown_to_who_rated_only(stub, answer_ids):
    name = tenant()
    await rated(stub, answer_ids, name, "unrecorded", called_by(name))
    for who, comment in ((called_by(name), SECRET), (called_by(name, "user:bob"), "")):
        (found,) = (await stub.ListRatings(pb.ListRatingsRequest(), **who)).ratings
        assert found.comment == comment


async def test_what_an_answer_had_from_earlier_turns_counts_as_its_own(stub, bus, manifest):
    name = tenant()
    await manifest.put(name, f"{name}-public", "everyone")
    await manifest.put(name, f"{name}-own", "user:ada")
    await publish(bus, about(name, "i1", "public", history_document_ids=[f"{name}-own"]))
    await listed(stub, called_by(name), 1)
    assert not (await conversation(stub, called_by(name)))["i1"].withheld
    await manifest.put(name, f"{name}-own", "user:bob")
    assert (await conversation(stub, called_by(name)))["i1"].withheld


async def test_a_document_of_another_tenant_lets_nothing_be_shown(stub, bus, manifest):
    name, other = tenant(), tenant()
    await manifest.put(other, f"{name}-d", "everyone")
    await publish(bus, about(name, "i1", "d"))
    (found,) = await listed(stub, called_by(name), 1)
    assert found.withheld


async def test_without_the_manifest_nothing_of_documents_is_shown(bus, database_url, tmp_path, stub):
    name = tenant()
    await publish(bus, about(name, "i1", "d"), interaction(name, "i2", conversation_id="other"))
    await listed(stub, called_by(name), 2)
    process = Process(free_address(), free_address(), database_url, bus, tmp_path / "log")
    process.set("FEEDBACK_MANIFEST_URL", "postgresql+asyncpg://nobody@127.0.0.1:9/none")
    with process.running():
        async with stub_of(process) as away:

            async def listens():
                with pytest.raises(grpc.aio.AioRpcError) as failed:
                    await away.Rate(pb.RateRequest(), **called_by(name))
                return failed.value.code() is grpc.StatusCode.INVALID_ARGUMENT

            await until(listens)
            refusal = await refused(away.ListInteractions(pb.ListInteractionsRequest(), **called_by(name)))
            assert refusal == (grpc.StatusCode.UNAVAILABLE, "PERMISSIONS_UNAVAILABLE")
