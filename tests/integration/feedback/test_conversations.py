"""People's own conversations: listed, read, deleted, and never anybody else's."""

import asyncio
from datetime import UTC, datetime

import grpc
import pytest
from sqlalchemy import text
from tandem.erasure.v1 import erasure_service_pb2 as erasure_pb
from tandem.feedback.v1 import events_pb2
from tandem.feedback.v1 import feedback_service_pb2 as pb

from services.common.database import open_database
from services.common.identity import Identity, system
from services.common.outbox import Outbox
from services.feedback.__main__ import MIGRATIONS
from services.feedback.adapters.conversations import PostgresConversations
from services.feedback.adapters.messages import interaction_of
from services.feedback.adapters.postgres import OUTBOX, SCHEMA, PostgresFeedback, hold_off_interactions
from tests.integration.feedback.running import (
    called_by,
    database_beside,
    erasure_of,
    interaction,
    publish,
    published_ratings,
    tenant,
    until,
)
from tests.integration.feedback.test_service import exported, listed, passage_of, refused

NOT_THERE = (grpc.StatusCode.NOT_FOUND, "CONVERSATION_NOT_FOUND")
START = 1_790_000_000


def get(stub, conversation_id, who):
    return stub.GetConversation(pb.GetConversationRequest(conversation_id=conversation_id), **who)


def delete(stub, conversation_id, who):
    return stub.DeleteConversation(pb.DeleteConversationRequest(conversation_id=conversation_id), **who)


async def conversations(stub, who, **request):
    return await stub.ListConversations(pb.ListConversationsRequest(**request), **who)


def turn(name, number, conversation_id="talk", **fields):
    return interaction(
        name, f"{conversation_id}-{number}", conversation_id=conversation_id, second=START + number, **fields
    )


async def test_conversations_are_listed_by_their_last_turn_with_their_first_question(stub, bus):
    name = tenant()
    turns = [turn(name, number, f"c{number % 3}", assistant=f"a{number}") for number in range(9)]
    await publish(bus, *turns, turn(name, 9, "bobs", subject="user:bob"))
    await listed(stub, called_by(name), 10)
    first = await conversations(stub, called_by(name), page_size=2)
    rest = await conversations(stub, called_by(name), page_size=2, page_token=first.next_page_token)
    found = [*first.conversations, *rest.conversations]
    assert [(one.conversation_id, one.title, one.turns, one.assistant) for one in found] == [
        ("c2", "question c2-2", 3, "a8"),
        ("c1", "question c1-1", 3, "a7"),
        ("c0", "question c0-0", 3, "a6"),
    ]
    assert (found[0].started_at.seconds, found[0].last_asked_at.seconds) == (START + 2, START + 8)
    assert not rest.next_page_token


async def test_a_title_that_may_not_be_shown_any_more_is_withheld(stub, bus, manifest):
    name = tenant()
    await manifest.put(name, f"{name}-d", "user:ada")
    await publish(bus, turn(name, 1, passages=[passage_of(f"{name}-d")], question="x" * 500), turn(name, 2))
    await listed(stub, called_by(name), 2)
    [before] = (await conversations(stub, called_by(name))).conversations
    await manifest.put(name, f"{name}-d", "user:bob")
    [after] = (await conversations(stub, called_by(name))).conversations
    assert (before.title, before.withheld) == ("x" * 200, False)
    assert (after.title, after.withheld, after.turns) == ("", True, 2)


async def test_what_a_follow_up_was_asked_as_is_withheld_like_the_question(stub, bus):
    name = tenant()
    await publish(bus, turn(name, 1, standalone_question="secret", passages=[passage_of("gone")]))
    await listed(stub, called_by(name), 1)
    [shown] = (await get(stub, "talk", called_by(name))).interactions
    assert (shown.withheld, shown.standalone_question) == (True, "")


@pytest.mark.parametrize("conversation_id", ["unknown", "talk\0", "", "TALK"])
async def test_a_conversation_that_is_not_there_is_not_found(stub, bus, conversation_id):
    name = tenant()
    await publish(bus, turn(name, 1))
    await listed(stub, called_by(name), 1)
    assert await refused(get(stub, conversation_id, called_by(name))) == NOT_THERE
    assert await refused(delete(stub, conversation_id, called_by(name))) == NOT_THERE


async def test_a_conversation_of_another_user_or_tenant_is_not_found_and_stays(stub, bus):
    name = tenant()
    await publish(bus, turn(name, 1))
    await listed(stub, called_by(name), 1)
    for who in (called_by(name, "user:bob"), called_by(tenant())):
        assert await refused(get(stub, "talk", who)) == NOT_THERE
        assert await refused(delete(stub, "talk", who)) == NOT_THERE
        assert not (await conversations(stub, who)).conversations
    assert len((await get(stub, "talk", called_by(name))).interactions) == 1


async def test_a_deleted_conversation_is_gone_from_everywhere_and_no_other_is(stub, bus):
    name = tenant()
    who = called_by(name)
    await publish(bus, turn(name, 1), turn(name, 2), turn(name, 3, "other"), turn(name, 4, subject="user:bob"))
    await listed(stub, who, 4)
    assert (await delete(stub, "talk", who)).removed == 2
    assert (await delete(stub, "talk", who)).removed == 0
    assert await refused(get(stub, "talk", who)) == NOT_THERE
    assert {one.interaction_id for one in await listed(stub, who, 2)} == {"other-3", "talk-4"}
    assert [one.conversation_id for one in (await conversations(stub, who)).conversations] == ["other"]


async def test_ratings_of_what_was_deleted_keep_their_thumb_and_no_text(stub, bus, answer_ids):
    name = tenant()
    who = called_by(name)
    await publish(bus, turn(name, 1), turn(name, 2, "other"))
    await listed(stub, who, 2)
    for one in ("talk-1", "other-2"):
        opinion = {"thumb": events_pb2.THUMB_DOWN, "comment": "no", "correction": "yes"}
        await stub.Rate(pb.RateRequest(answer_id=answer_ids.mint(name, one), **opinion), **who)
    await delete(stub, "talk", who)
    kept = {one.rating.interaction_id: one for one in await exported(stub, who)}
    silenced, other = kept["talk-1"].rating, kept["other-2"].rating
    assert (silenced.thumb, silenced.comment, silenced.correction) == (events_pb2.THUMB_DOWN, "", "")
    assert not kept["talk-1"].HasField("interaction")
    assert (other.comment, other.correction) == ("no", "yes")

    async def told():
        last = {one.rating_id: one for one in await asyncio.to_thread(published_ratings, bus, name)}
        return last if len(last) == 2 and not last[silenced.rating_id].comment else None

    assert (await until(told))[silenced.rating_id].thumb == events_pb2.THUMB_DOWN


async def test_what_comes_late_of_a_deleted_conversation_is_not_kept_and_what_is_asked_later_is(stub, bus):
    name = tenant()
    who = called_by(name)
    await publish(bus, turn(name, 1))
    await listed(stub, who, 1)
    await delete(stub, "talk", who)
    later = interaction(name, "later", second=4_000_000_000)
    await publish(bus, turn(name, 1), turn(name, 2), turn(name, 3, subject="user:bob"), later)
    assert {one.interaction_id for one in await listed(stub, who, 2)} == {"talk-3", "later"}
    assert [one.interaction_id for one in (await get(stub, "talk", who)).interactions] == ["later"]


async def test_an_erased_person_leaves_no_trace_of_what_they_deleted(feedback, stub, bus, database_url):
    name = tenant()
    for subject in ("user:ada", "user:bob"):
        await publish(bus, turn(name, 1 if subject == "user:ada" else 2, subject=subject))
    await listed(stub, called_by(name), 2)
    for subject in ("user:ada", "user:bob"):
        await delete(stub, "talk", called_by(name, subject))
    async with erasure_of(feedback) as erasure:
        request = erasure_pb.EraseRequest(person=erasure_pb.Person(principals=["user:ada"]))
        removed = (await erasure.Erase(request, **called_by(name, "user:admin"))).removed
        assert {one.kind: one.count for one in removed} == {"deleted conversations": 1}
    async with open_database(database_url, MIGRATIONS, SCHEMA) as sessions, sessions() as session:
        query = text("SELECT subject FROM feedback.deleted_conversations WHERE tenant_id = :tenant")
        assert list(await session.scalars(query, {"tenant": name})) == ["user:bob"]


async def test_who_stores_interactions_waits_for_a_removal_and_then_sees_it(database_url):
    url, who = await database_beside(database_url), Identity("acme", "user:ada", ())
    first, late = (interaction_of(turn("acme", number).SerializeToString()) for number in (1, 2))
    async with open_database(url, MIGRATIONS, SCHEMA) as sessions:
        outbox = Outbox(OUTBOX)
        store, kept = PostgresFeedback(sessions, outbox), PostgresConversations(sessions, outbox)
        await store.add_interactions(system("acme", "test"), [first])
        async with sessions.begin() as session:
            await hold_off_interactions(session, "acme")
            deleting = asyncio.create_task(kept.delete(who, "talk", datetime.now(UTC)))
            await asyncio.sleep(0.1)
            storing = asyncio.create_task(store.add_interactions(system("acme", "test"), [late]))
            other = interaction_of(turn("other", 1).SerializeToString())
            assert await store.add_interactions(system("other", "test"), [other]) == 1
            assert not storing.done()
        assert (await deleting, await storing) == (1, 0)
