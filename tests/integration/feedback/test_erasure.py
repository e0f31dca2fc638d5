"""What is erased is gone with its ratings, and does not come back from the bus."""

from datetime import UTC, datetime

import asyncpg
import grpc
import pytest
from tandem.erasure.v1 import erasure_service_pb2 as pb
from tandem.feedback.v1 import events_pb2
from tandem.feedback.v1 import feedback_service_pb2 as feedback_pb

from services.common.bus import RATINGS, Record
from services.common.database import open_database
from services.common.identity import Identity
from services.common.outbox import Outbox
from services.feedback.__main__ import MIGRATIONS
from services.feedback.adapters.erasure import PostgresErasure
from services.feedback.adapters.postgres import OUTBOX, SCHEMA
from tests.integration.feedback.running import called_by, database_beside, erasure_of, interaction, publish, tenant
from tests.integration.feedback.test_service import listed, refused


@pytest.fixture
async def erasure(feedback):
    async with erasure_of(feedback) as stub:
        yield stub


def person(*principals):
    return pb.EraseRequest(person=pb.Person(principals=principals))


async def erased(erasure, request, name):
    """Erase until nothing is left, and return how many of each kind were removed."""
    counts = {}
    while True:
        answer = await erasure.Erase(request, **called_by(name, "user:admin"))
        for removed in answer.removed:
            counts[removed.kind] = counts.get(removed.kind, 0) + removed.count
        if answer.done:
            return counts


async def rate(stub, answer_ids, name, interaction_id, subject):
    answer_id = answer_ids.mint(name, interaction_id)
    request = feedback_pb.RateRequest(answer_id=answer_id, thumb=events_pb2.THUMB_UP)
    await stub.Rate(request, **called_by(name, subject))


async def left(stub, name):
    who = called_by(name)
    told = (await stub.ListInteractions(feedback_pb.ListInteractionsRequest(), **who)).interactions
    rated = (await stub.ListRatings(feedback_pb.ListRatingsRequest(), **who)).ratings
    return {one.interaction_id for one in told}, {(one.interaction_id, one.subject) for one in rated}


async def test_a_person_goes_with_every_rating_of_what_they_asked(stub, bus, erasure, answer_ids):
    name = tenant()
    await publish(bus, interaction(name, "adas"), interaction(name, "bobs", subject="user:bob"))
    await publish(bus, interaction(name, "alias", subject="user:ada@example.org"))
    await listed(stub, called_by(name), 3)
    for interaction_id, subject in (("adas", "user:bob"), ("bobs", "user:bob"), ("bobs", "user:ada")):
        await rate(stub, answer_ids, name, interaction_id, subject)
    counts = await erased(erasure, person("user:ada", "user:ada@example.org"), name)
    assert (counts["interactions"], counts["ratings"]) == (2, 2)
    assert await left(stub, name) == ({"bobs"}, {("bobs", "user:bob")})
    assert await erased(erasure, person("user:ada"), name) == {}


async def test_a_whole_tenant_goes_and_no_other(stub, bus, erasure, answer_ids, database_url):
    name, other = tenant(), tenant()
    await publish(bus, interaction(name, "i1"), interaction(name, "i2", subject="user:bob"), interaction(other, "i1"))
    await listed(stub, called_by(name), 2)
    await listed(stub, called_by(other), 1)
    for one in (name, other):
        await rate(stub, answer_ids, one, "i1", "user:ada")
    counts = await erased(erasure, pb.EraseRequest(whole_tenant=pb.WholeTenant()), name)
    assert (counts["interactions"], counts["ratings"]) == (2, 1)
    assert await left(stub, name) == (set(), set())
    assert await left(stub, other) == ({"i1"}, {("i1", "user:ada")})
    connection = await asyncpg.connect(database_url.replace("+asyncpg", ""))
    waiting = await connection.fetch("SELECT value FROM feedback.outbox")
    await connection.close()
    assert name.encode() not in b"".join(row["value"] for row in waiting)


async def test_what_was_still_on_its_way_is_not_kept_and_what_is_asked_later_is(stub, bus, erasure):
    name = tenant()
    await erased(erasure, person("user:ada"), name)
    late = interaction(name, "late", second=1_000_000_000)
    later = interaction(name, "later", second=4_000_000_000)
    await publish(bus, late, interaction(name, "bobs", subject="user:bob"), later)
    assert {one.interaction_id for one in await listed(stub, called_by(name), 2)} == {"bobs", "later"}


async def test_ratings_that_wait_to_be_published_go_too(database_url):
    # No relay empties a database of the test's own.
    url = await database_beside(database_url)
    async with open_database(url, MIGRATIONS, SCHEMA) as sessions:
        async with sessions.begin() as session:
            for tenant_id, subject in (("acme", "user:ada"), ("acme", "user:bob"), ("other", "user:ada")):
                told = events_pb2.RatingRecorded(tenant_id=tenant_id, interaction_id="i", subject=subject)
                await Outbox(OUTBOX).add(session, [Record(RATINGS, b"key", told.SerializeToString())])
        erasure = PostgresErasure(sessions)
        counts = await erasure.erase(Identity("acme", "user:admin", ()), ["user:ada"], datetime.now(UTC))
        assert counts == {"unpublished ratings": 1}
        counts = await erasure.erase(Identity("acme", "user:admin", ()), None, datetime.now(UTC))
        assert counts == {"unpublished ratings": 1}


@pytest.mark.parametrize("request_", [pb.EraseRequest(), person(), person("", "\0")])
async def test_a_call_that_names_nobody_is_refused(erasure, request_):
    call = erasure.Erase(request_, **called_by(tenant()))
    assert await refused(call) == (grpc.StatusCode.INVALID_ARGUMENT, "NOTHING_TO_ERASE")
