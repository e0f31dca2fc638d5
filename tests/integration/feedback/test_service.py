"""Interactions and ratings through the running service, on the real broker and PostgreSQL."""

import asyncio
import urllib.request

import asyncpg
import grpc
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2, status_pb2
from sqlalchemy.ext.asyncio import create_async_engine
from tandem.feedback.v1 import events_pb2
from tandem.feedback.v1 import feedback_service_pb2 as pb

from services.feedback.adapters.postgres import METADATA, SCHEMA
from tests.integration.feedback.running import (
    called_by,
    interaction,
    publish,
    published_ratings,
    tenant,
    until,
)

UP, DOWN = events_pb2.THUMB_UP, events_pb2.THUMB_DOWN


def reason_of(error):
    status = status_pb2.Status.FromString(dict(error.trailing_metadata())["grpc-status-details-bin"])
    info = error_details_pb2.ErrorInfo()
    status.details[0].Unpack(info)
    return info.reason


async def refused(call):
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await call
    return failed.value.code(), reason_of(failed.value)


async def listed(stub, who, count):
    """Return all interactions of a tenant, once there are `count`."""

    async def enough():
        answer = await stub.ListInteractions(pb.ListInteractionsRequest(page_size=500), **who)
        return answer.interactions if len(answer.interactions) >= count else None

    return await until(enough)


def passage_of(document_id, **fields):
    return events_pb2.InteractionPassage(document_id=document_id, **fields)


async def exported(stub, who, **request):
    return [answer async for answer in stub.ExportRatings(pb.ExportRatingsRequest(**request), **who)]


async def test_an_interaction_is_stored_once_however_often_it_comes(stub, bus, manifest):
    name = tenant()
    await manifest.put(name, f"{name}-d", "everyone")
    who = called_by(name)
    passage = events_pb2.InteractionPassage(
        chunk_id="c", document_id=f"{name}-d", document_version=2**60, score=0.25, cited=True, title="é"
    )
    first = interaction(name, "i1", passages=[passage], prompt="p", trace_id="0" * 32)
    await publish(bus, first, interaction(name, "i1", answer="another"))
    await publish(bus, first, interaction(name, "i2", second=1_790_000_001))
    found = await listed(stub, who, 2)
    assert [message.interaction_id for message in found] == ["i2", "i1"]
    assert found[1] == first


async def test_records_that_cannot_be_stored_never_block_the_partition(stub, bus, feedback):
    name = tenant()
    poison = [
        b"",
        b"\xff\xff\xff",
        interaction(name, "").SerializeToString(),
        interaction(name, "far", conversation_id="c" * 5000).SerializeToString(),
        interaction(name, "when", asked_at=Timestamp(seconds=2**62)).SerializeToString(),
        interaction(name, "nul", answer="a\0b").SerializeToString(),
    ]
    await publish(bus, interaction(name, "good"), raw=poison)
    found = await listed(stub, called_by(name), 2)
    assert {message.interaction_id: message.answer for message in found} == {"good": "answer", "nul": "ab"}
    assert feedback.log().count('"record_failed"') == 5
    assert 'tandem_interactions_total{outcome="malformed"} 5.0' in metrics(feedback)


def metrics(feedback):
    with urllib.request.urlopen(f"http://{feedback.metrics_address}/metrics") as answer:
        return answer.read().decode()


async def published(bus, name, at_least):
    found = await asyncio.to_thread(published_ratings, bus, name)
    return found if len(found) >= at_least else None


async def test_a_second_rating_replaces_the_first_and_an_identical_one_changes_nothing(stub, bus, answer_ids, feedback):
    name = tenant()
    who, answer_id = called_by(name), answer_ids.mint(name, "i1")
    first = (await stub.Rate(pb.RateRequest(answer_id=answer_id, thumb=UP, comment="ok"), **who)).rating
    same = (await stub.Rate(pb.RateRequest(answer_id=answer_id, thumb=UP, comment=" ok\0"), **who)).rating
    other = (await stub.Rate(pb.RateRequest(answer_id=answer_id, thumb=DOWN, correction="Deux ans."), **who)).rating
    assert same == first
    assert other.rating_id == first.rating_id
    assert (other.thumb, other.comment, other.correction) == (DOWN, "", "Deux ans.")
    kept = (await stub.ListRatings(pb.ListRatingsRequest(), **who)).ratings
    assert list(kept) == [other]
    told = await until(lambda: published(bus, name, at_least=2))
    assert [(record.rating_id, record.thumb, record.interaction_id) for record in told] == [
        (first.rating_id, UP, "i1"),
        (first.rating_id, DOWN, "i1"),
    ]
    assert 'tandem_ratings_total{thumb="down"}' in metrics(feedback)
    assert "tandem_interaction_lag_seconds_count" in metrics(feedback)


async def test_twenty_equal_ratings_at_once_are_one(stub, bus, answer_ids):
    name = tenant()
    request = pb.RateRequest(answer_id=answer_ids.mint(name, "i1"), thumb=UP)
    answers = await asyncio.gather(*(stub.Rate(request, **called_by(name)) for _ in range(20)))
    assert len({answer.rating.rating_id for answer in answers}) == 1
    assert len(await until(lambda: published(bus, name, at_least=1))) == 1


async def test_each_subject_has_a_rating_of_its_own(stub, answer_ids):
    name = tenant()
    request = pb.RateRequest(answer_id=answer_ids.mint(name, "i1"), thumb=UP)
    ada = await stub.Rate(request, **called_by(name))
    bob = await stub.Rate(request, **called_by(name, "user:bob"))
    assert ada.rating.rating_id != bob.rating.rating_id
    assert len((await stub.ListRatings(pb.ListRatingsRequest(), **called_by(name))).ratings) == 2


@pytest.mark.parametrize("answer_id", ["", "made-up", "é", "A" * 100_000])
async def test_only_a_signed_answer_can_be_rated(stub, answer_id):
    call = stub.Rate(pb.RateRequest(answer_id=answer_id, thumb=UP), **called_by(tenant()))
    assert await refused(call) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ANSWER_ID")


@pytest.mark.parametrize("fields", [{}, {"thumb": 7}, {"thumb": UP, "comment": "x" * 10_001}])
async def test_a_rating_without_a_thumb_or_with_too_much_text_is_refused(stub, answer_ids, fields):
    name = tenant()
    call = stub.Rate(pb.RateRequest(answer_id=answer_ids.mint(name, "i1"), **fields), **called_by(name))
    assert await refused(call) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_RATING")
    assert not (await stub.ListRatings(pb.ListRatingsRequest(), **called_by(name))).ratings


async def test_no_tenant_sees_or_rates_anything_of_anothers(stub, bus, answer_ids):
    mine, theirs = tenant(), tenant()
    # The same ids in both tenants: only the tenant keeps them apart.
    await publish(bus, interaction(mine, "i1", answer="mine"), interaction(theirs, "i1", answer="theirs"))
    await listed(stub, called_by(mine), 1)
    await listed(stub, called_by(theirs), 1)
    rating = pb.RateRequest(answer_id=answer_ids.mint(theirs, "i1"), thumb=DOWN)
    await stub.Rate(rating, **called_by(theirs))
    assert await refused(stub.Rate(rating, **called_by(mine))) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "INVALID_ANSWER_ID",
    )
    who = called_by(mine)
    assert not (await stub.ListRatings(pb.ListRatingsRequest(), **who)).ratings
    assert await exported(stub, who) == []
    assert [message.answer for message in await listed(stub, who, 1)] == ["mine"]
    talk = await stub.GetConversation(pb.GetConversationRequest(conversation_id="talk"), **who)
    assert [message.answer for message in talk.interactions] == ["mine"]
    await stub.Rate(pb.RateRequest(answer_id=answer_ids.mint(mine, "i1"), thumb=UP), **who)
    assert [answer.interaction.answer for answer in await exported(stub, who)] == ["mine"]


@pytest.mark.parametrize("who", [{"timeout": 10}, called_by("acme", key="forged" * 6)])
async def test_every_call_needs_a_signed_identity(stub, who):
    calls = [
        stub.Rate(pb.RateRequest(), **who),
        stub.GetConversation(pb.GetConversationRequest(), **who),
        stub.ListInteractions(pb.ListInteractionsRequest(), **who),
        stub.ListRatings(pb.ListRatingsRequest(), **who),
        exported(stub, who),
    ]
    for call in calls:
        assert await refused(call) == (grpc.StatusCode.UNAUTHENTICATED, "IDENTITY_MISSING")


async def test_a_conversation_shows_the_callers_last_turns_oldest_first(stub, bus):
    name = tenant()
    turns = [interaction(name, f"i{turn}", second=1_790_000_000 + turn) for turn in range(12)]
    bobs = interaction(name, "bobs", subject="user:bob")
    elsewhere = interaction(name, "elsewhere", conversation_id="other")
    await publish(bus, *turns, bobs, elsewhere)
    await listed(stub, called_by(name), 14)

    async def ids(max_turns=0, conversation_id="talk"):
        request = pb.GetConversationRequest(conversation_id=conversation_id, max_turns=max_turns)
        answer = await stub.GetConversation(request, **called_by(name))
        return [message.interaction_id for message in answer.interactions]

    assert await ids() == [f"i{turn}" for turn in range(2, 12)]
    assert await ids(max_turns=2) == ["i10", "i11"]
    assert await ids(max_turns=1000) == [f"i{turn}" for turn in range(12)]
    negative = stub.GetConversation(pb.GetConversationRequest(max_turns=-1), **called_by(name))
    assert await refused(negative) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_MAX_TURNS")


async def test_pages_go_from_new_to_old_and_stay_stable_while_more_comes(stub, bus):
    name = tenant()
    who = called_by(name)
    # All of one second, so that only the id breaks the ties.
    await publish(bus, *(interaction(name, f"i{number:02}") for number in range(25)))
    await listed(stub, who, 25)
    seen, token = [], ""
    while True:
        page = await stub.ListInteractions(pb.ListInteractionsRequest(page_size=10, page_token=token), **who)
        seen += [message.interaction_id for message in page.interactions]
        if not seen[10:]:
            await publish(bus, interaction(name, "new", second=1_790_000_009))
            await listed(stub, who, 26)
        if not (token := page.next_page_token):
            break
    assert seen == [f"i{number:02}" for number in reversed(range(25))]


async def test_ratings_page_newest_first_and_export_oldest_first(stub, bus, answer_ids):
    name = tenant()
    who = called_by(name)
    rated = []
    for number in range(5):
        request = pb.RateRequest(answer_id=answer_ids.mint(name, f"i{number}"), thumb=UP, comment=str(number))
        rated.append((await stub.Rate(request, **who)).rating)
    await publish(bus, interaction(name, "i3"))
    await listed(stub, who, 1)
    first = await stub.ListRatings(pb.ListRatingsRequest(page_size=3), **who)
    await stub.Rate(pb.RateRequest(answer_id=answer_ids.mint(name, "late"), thumb=UP), **who)
    rest = await stub.ListRatings(pb.ListRatingsRequest(page_size=3, page_token=first.next_page_token), **who)
    assert [*first.ratings, *rest.ratings] == rated[::-1]
    assert not rest.next_page_token
    answers = await exported(stub, who, rated_after=rated[1].rated_at)
    assert [answer.rating for answer in answers[:4]] == rated[1:]
    assert [answer.HasField("interaction") for answer in answers] == [False, False, True, False, False]


async def test_bad_pages_and_times_are_refused(stub):
    who = called_by(tenant())
    invalid = grpc.StatusCode.INVALID_ARGUMENT
    for call in (
        stub.ListInteractions(pb.ListInteractionsRequest(page_size=-1), **who),
        stub.ListInteractions(pb.ListInteractionsRequest(page_token="x"), **who),
        stub.ListRatings(pb.ListRatingsRequest(page_size=-1), **who),
        stub.ListRatings(pb.ListRatingsRequest(page_token="é"), **who),
    ):
        assert await refused(call) == (invalid, "INVALID_PAGE")
    call = exported(stub, who, rated_after=Timestamp(seconds=2**62))
    assert await refused(call) == (invalid, "INVALID_RATED_AFTER")


async def test_an_export_longer_than_a_batch_streams_whole_and_can_be_left(stub, database_url, answer_ids):
    name = tenant()
    await stub.Rate(pb.RateRequest(answer_id=answer_ids.mint(name, "i"), thumb=UP), **called_by(name))
    connection = await asyncpg.connect(database_url.replace("+asyncpg", ""))
    try:
        await connection.execute(
            """INSERT INTO feedback.ratings SELECT tenant_id, 'i' || n, subject, rating_id || n, thumb, comment,
               correction, rated_at FROM feedback.ratings, generate_series(1, 1000) n WHERE tenant_id = $1""",
            name,
        )
        left = stub.ExportRatings(pb.ExportRatingsRequest(), **called_by(name))
        await left.read()
        left.cancel()
        assert len({answer.rating.rating_id for answer in await exported(stub, called_by(name))}) == 1001

        async def no_cursor_is_left():
            open_ = await connection.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction'"
            )
            return open_ == 0

        assert await until(no_cursor_is_left)
    finally:
        await connection.close()


@pytest.mark.usefixtures("feedback")
async def test_the_migrations_make_the_tables_that_the_code_expects(database_url):
    engine = create_async_engine(database_url)

    def differences(connection):
        options = {
            "include_schemas": True,
            "include_name": lambda name, kind, _: kind != "schema" or name == SCHEMA,
            "version_table_schema": SCHEMA,
        }
        return compare_metadata(MigrationContext.configure(connection, opts=options), METADATA)

    try:
        async with engine.connect() as connection:
            assert await connection.run_sync(differences) == []
    finally:
        await engine.dispose()
