"""The audit log in a real PostgreSQL: what it keeps, shows, and lets nobody change."""

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from tandem.gateway.v1 import audit_service_pb2 as pb

from services.common.access import EVERY_ROLE
from services.common.database import open_database
from services.common.identity import Identity, set_caller
from services.common.pages import InvalidPage, token_of
from services.gateway.adapters.audit import PostgresAudit
from services.gateway.adapters.postgres import MIGRATIONS, SCHEMA
from services.gateway.domain.audit import AuditEvent, AuditKind, GivenPassage, InvalidAuditFilter
from services.gateway.servicer.audit import AuditServicer

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.fixture
async def sessions(database_url):
    async with open_database(database_url, MIGRATIONS, SCHEMA) as sessions:
        yield sessions


@pytest.fixture
def audit(sessions) -> PostgresAudit:
    return PostgresAudit(sessions)


@pytest.fixture
def tenant() -> str:
    return uuid.uuid4().hex


@pytest.fixture
def shown(audit, tenant):
    """The servicer, called by an admin of the tenant."""
    set_caller(Identity(tenant, "key:admin", (), EVERY_ROLE))
    return AuditServicer(audit)


def act(tenant: str, number: int = 0, subject: str = "key:k1", **rest: object) -> AuditEvent:
    at = NOON + timedelta(minutes=number)
    return AuditEvent(tenant, at, AuditKind.ACT, subject, "", f"/a.B/{number}", "OK", request={"n": number}, **rest)


def given(tenant: str, document_id: str) -> AuditEvent:
    passages = (GivenPassage("c1", document_id, 3), GivenPassage("c2", "other", 1))
    return AuditEvent(
        tenant, NOON, AuditKind.PASSAGES_GIVEN, "user:ada", "key:app", "/a.B/Ask", "OK", "ab" * 16, {}, passages
    )


async def listed(shown, **request: object) -> list[pb.AuditEvent]:
    return list((await shown.ListAuditEvents(pb.ListAuditEventsRequest(**request), None)).events)


async def exported(shown, **wanted: object) -> list[pb.AuditEvent]:
    request = pb.ExportAuditEventsRequest(filter=pb.AuditFilter(**wanted))
    return [answer.event async for answer in shown.ExportAuditEvents(request, None)]


def numbers(events) -> list[int]:
    return [int(event.request["n"]) for event in events]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE gateway.audit SET subject = 'nobody'",
        "UPDATE gateway.audit SET subject = 'nobody' WHERE false",
        "DELETE FROM gateway.audit",
        "TRUNCATE gateway.audit",
        (
            "INSERT INTO gateway.audit OVERRIDING SYSTEM VALUE SELECT * FROM gateway.audit ON CONFLICT (event_id)"
            " DO UPDATE SET subject = 'nobody'"
        ),
    ],
)
async def test_nothing_in_the_log_is_changed_or_removed(audit, sessions, shown, tenant, statement):
    await audit.add([act(tenant)])
    with pytest.raises(DBAPIError, match="append-only"):
        async with sessions.begin() as session:
            await session.execute(text(statement))
    assert [event.subject for event in await listed(shown)] == ["key:k1"]


async def test_an_event_is_shown_as_it_was_kept(audit, shown, tenant):
    await audit.add([given(tenant, "d1")])
    (event,) = await listed(shown)
    assert (event.kind, event.subject, event.actor) == (pb.AUDIT_EVENT_KIND_PASSAGES_GIVEN, "user:ada", "key:app")
    assert (event.rpc, event.code, event.trace_id) == ("/a.B/Ask", "OK", "ab" * 16)
    assert event.at.ToDatetime(UTC) == NOON
    assert event.passages[0] == pb.GivenPassage(chunk_id="c1", document_id="d1", document_version=3)


async def test_pages_follow_each_other_newest_first_and_an_export_goes_the_other_way(audit, shown, tenant):
    await audit.add([act(tenant, number) for number in range(5)])
    first = await shown.ListAuditEvents(pb.ListAuditEventsRequest(page_size=3), None)
    rest = await listed(shown, page_size=3, page_token=first.next_page_token)
    assert numbers(first.events) + numbers(rest) == [4, 3, 2, 1, 0]
    assert numbers(await exported(shown)) == [0, 1, 2, 3, 4]


async def test_an_export_longer_than_a_page_is_whole(audit, shown, tenant):
    await audit.add([act(tenant, number) for number in range(1001)])
    assert numbers(await exported(shown)) == list(range(1001))


async def test_filters_narrow_and_hold_together(audit, shown, tenant):
    await audit.add([act(tenant, number, subject) for number, subject in enumerate(("key:k1", "key:k2", "key:k1"))])
    await audit.add([given(tenant, "d1"), given(tenant, "d2")])
    assert numbers(await exported(shown, subject="key:k1")) == [0, 2]
    assert numbers(await exported(shown, subject="key:k1", after=NOON + timedelta(minutes=1))) == [2]
    assert numbers(await exported(shown, kind=pb.AUDIT_EVENT_KIND_ACT, before=NOON + timedelta(minutes=1))) == [0]
    assert len(await exported(shown, kind=pb.AUDIT_EVENT_KIND_PASSAGES_GIVEN)) == 2
    assert [event.passages[0].document_id for event in await exported(shown, document_id="d2")] == ["d2"]
    assert len(await exported(shown, document_id="other")) == 2
    assert await exported(shown, document_id="d1", subject="key:k1") == []


async def test_another_tenants_events_are_not_there(audit, shown, tenant):
    rival = uuid.uuid4().hex
    await audit.add([act(rival), given(rival, "d1"), act(tenant, 7)])
    assert numbers(await listed(shown)) == [7]
    assert numbers(await exported(shown)) == [7]
    assert await exported(shown, document_id="d1") == []


@pytest.mark.parametrize(
    "wanted",
    [
        {"kind": 99},
        {"subject": "\0"},
        {"document_id": "d" * 301},
        {"after": NOON, "before": NOON - timedelta(seconds=1)},
    ],
)
async def test_a_filter_that_nothing_can_match_is_refused(shown, wanted):
    with pytest.raises(InvalidAuditFilter):
        await exported(shown, **wanted)


async def test_a_time_that_there_is_not_is_refused(shown):
    request = pb.ExportAuditEventsRequest()
    request.filter.after.seconds = 2**62
    with pytest.raises(InvalidAuditFilter):
        [answer async for answer in shown.ExportAuditEvents(request, None)]


@pytest.mark.parametrize("token", ["x", token_of("-1"), token_of("1" * 30), token_of("²")])
async def test_a_token_that_is_none_of_ours_is_refused(shown, token):
    with pytest.raises(InvalidPage):
        await listed(shown, page_token=token)
