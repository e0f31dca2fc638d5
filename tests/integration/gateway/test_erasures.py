"""Erasures on a real PostgreSQL, before services over real gRPC that do as they are told."""

import asyncio
import contextlib
import itertools
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial

import grpc
import pytest
from sqlalchemy import text
from tandem.erasure.v1 import erasure_service_pb2 as erasure_pb
from tandem.erasure.v1 import erasure_service_pb2_grpc as erasure_rpc
from tandem.gateway.v1 import erasure_service_pb2 as pb
from tandem.gateway.v1 import erasure_service_pb2_grpc as rpc

from services.common.access import EVERY_ROLE, Role
from services.common.client import Outgoing, open_channel
from services.common.database import open_database
from services.common.errors import Unavailable
from services.common.identity import Identity, IdentitySigner, caller
from services.common.interceptors import RpcInterceptor, signed_by
from services.gateway.adapters.audit import PostgresAudit
from services.gateway.adapters.erasers import Eraser
from services.gateway.adapters.erasures import PostgresErasures
from services.gateway.adapters.postgres import MIGRATIONS, SCHEMA
from services.gateway.domain.audit import AuditFilter
from services.gateway.erasing import ErasureRunner, Pace
from services.gateway.servicer.erasures import ErasureServicer
from tests.conftest import free_address

KEY = b"k" * 32
SOON_SECONDS = 20.0
NAMES = ("ingest", "embed", "retrieve", "generate", "feedback", "tune")
PACE = Pace(round_seconds=0.02, last_key_seconds=0.02)


class Away(Unavailable):
    reason = "STORE_UNAVAILABLE"


@dataclass
class Keeper(erasure_rpc.ErasureServiceServicer):
    """A service that keeps things: it removes one a call, and says when it has none left."""

    name: str
    order: list[str]
    left: int = 2
    stale: tuple[str, ...] = ()
    fault: Exception | None = None
    callers: list[Identity] = field(default_factory=list)
    requests: list[erasure_pb.EraseRequest] = field(default_factory=list)

    async def Erase(self, request, context):
        self.callers.append(caller())
        self.requests.append(request)
        self.order.append(self.name)
        if self.fault:
            raise self.fault
        removed = [erasure_pb.Removed(kind=f"{self.name} things", count=1)] if self.left else []
        self.left = max(0, self.left - 1)
        return erasure_pb.EraseResponse(removed=removed, done=not self.left, stale_adapters=self.stale)


@contextlib.asynccontextmanager
async def serving(add, address: str = "127.0.0.1:0", authenticate=None) -> AsyncIterator[str]:
    server = grpc.aio.server(interceptors=[RpcInterceptor(authenticate or signed_by(IdentitySigner(KEY).verify))])
    add(server)
    port = server.add_insecure_port(address)
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


@dataclass
class Platform:
    """A tenant, the services behind, and what erases in them."""

    sessions: object
    tenant: str
    keepers: dict[str, Keeper]
    runner: ErasureRunner
    store: PostgresErasures
    order: list[str]

    @property
    def admin(self) -> Identity:
        return Identity(self.tenant, "key:asking", ("everyone",), EVERY_ROLE)

    async def sql(self, statement: str, **values: object):
        async with self.sessions.begin() as session:
            result = await session.execute(text(statement), {"tenant": self.tenant, **values})
            return result.all() if result.returns_rows else None

    async def scalar(self, statement: str, **values: object):
        return (await self.sql(statement, **values))[0][0]

    async def until_done(self, erasure_id: str):
        async with asyncio.timeout(SOON_SECONDS):
            while True:
                await self.runner.look()
                erasure = await self.store.find(self.admin, erasure_id)
                if erasure.finished_at:
                    return erasure

    async def audited(self):
        kept = await PostgresAudit(self.sessions).newest(self.admin, AuditFilter(), None, 100)
        return [each.event for each in kept]


async def fill(sessions, tenant: str) -> None:
    """Give a tenant a row in every table of the gateway."""
    statements = (
        "INSERT INTO gateway.tenants (tenant_id) VALUES (:t)",
        (
            "INSERT INTO gateway.api_keys (key_id, tenant_id, name, mac) VALUES"
            " (:t || '-asking', :t, 'a', ''), (:t || '-other', :t, 'b', '')"
        ),
        "INSERT INTO gateway.assistants VALUES (:t, 'sales', 1, true)",
        "INSERT INTO gateway.assistant_versions VALUES (:t, 'sales', 1, '{}')",
        "INSERT INTO gateway.users VALUES (:t, 'ada', 'Ada'), (:t, 'bob', 'Bob')",
        "INSERT INTO gateway.aliases VALUES (:t, 'ada@corp', 'ada'), (:t, 'ada', 'ada'), (:t, 'bob@corp', 'bob')",
        "INSERT INTO gateway.groups VALUES (:t, 'sales', 'Sales')",
        (
            "INSERT INTO gateway.memberships VALUES (:t, 'sales', 'user:ada'), (:t, 'sales', 'user:ada@corp'),"
            " (:t, 'sales', 'user:bob')"
        ),
    )
    async with sessions.begin() as session:
        for statement in statements:
            await session.execute(text(statement), {"t": tenant})


@pytest.fixture
async def sessions(database_url):
    async with open_database(database_url, MIGRATIONS, SCHEMA) as sessions:
        yield sessions
        # What a test left unfinished is not the next one's.
        async with sessions.begin() as session:
            await session.execute(text("DELETE FROM gateway.erasures WHERE finished_at IS NULL"))


@pytest.fixture
async def platform(sessions):
    tenant, order = uuid.uuid4().hex, []
    await fill(sessions, tenant)
    keepers = {name: Keeper(name, order) for name in NAMES}
    async with contextlib.AsyncExitStack() as stack:
        erasers = []
        for name, keeper in keepers.items():
            add = partial(erasure_rpc.add_ErasureServiceServicer_to_server, keeper)
            address = await stack.enter_async_context(serving(add))
            channel = await stack.enter_async_context(open_channel(address))
            erasers.append(Eraser(name, channel, Outgoing(IdentitySigner(KEY))))
        store = PostgresErasures(sessions)
        runner = ErasureRunner(store, erasers, partial(datetime.now, UTC), PACE)
        yield Platform(sessions, tenant, keepers, runner, store, order)


async def rows_of(platform: Platform, tenant: str) -> dict[str, int]:
    """Return how many rows each table of the gateway has of a tenant."""
    tables = await platform.sql(
        "SELECT table_name FROM information_schema.columns"
        " WHERE table_schema = 'gateway' AND column_name = 'tenant_id' AND table_name NOT IN ('audit', 'erasures')"
    )
    counts = {}
    for (table,) in tables:
        counts[table] = await platform.scalar(f"SELECT count(*) FROM gateway.{table} WHERE tenant_id = :t", t=tenant)
    return counts


async def test_a_user_is_forgotten_at_once_and_erased_under_every_name(platform):
    begun = await platform.store.begin_user(platform.admin, "ada@corp")
    assert begun.user_id == "ada"
    members = "SELECT count(*) FROM gateway.memberships WHERE tenant_id = :tenant AND member LIKE 'user:ada%'"
    assert await platform.scalar(members) == 0
    assert await platform.scalar("SELECT count(*) FROM gateway.users WHERE tenant_id = :tenant") == 1
    done = await platform.until_done(begun.erasure_id)
    assert done.removed == {
        **{f"{name} things": 2 for name in NAMES},
        "users": 1,
        "aliases": 2,
        "memberships": 2,
    }
    for keeper in platform.keepers.values():
        assert set(keeper.requests[0].person.principals) == {"user:ada", "user:ada@corp"}
        who = keeper.callers[0]
        assert (who.tenant_id, who.subject, who.principals) == (platform.tenant, "system:erasure", ())
        assert who.roles == {Role.ADMIN}
    assert await platform.scalar("SELECT count(*) FROM gateway.memberships WHERE tenant_id = :tenant") == 1
    assert await platform.scalar("SELECT count(*) FROM gateway.api_keys WHERE revoked_at IS NULL") >= 2
    # Who the person was stays only where it must.
    assert await platform.scalar("SELECT principals FROM gateway.erasures WHERE tenant_id = :tenant") == []


async def test_a_user_whom_the_directory_does_not_know_is_erased_too(platform):
    done = await platform.until_done((await platform.store.begin_user(platform.admin, "eve")).erasure_id)
    assert platform.keepers["feedback"].requests[0].person.principals == ["user:eve"]
    assert done.removed["ingest things"] == 2


async def test_a_repeat_while_one_runs_is_that_one_under_any_name_and_however_many_ask_at_once(platform):
    begun = await asyncio.gather(*(platform.store.begin_user(platform.admin, "bob") for _ in range(5)))
    again = await platform.store.begin_user(platform.admin, "bob@corp")
    assert {erasure.erasure_id for erasure in (*begun, again)} == {again.erasure_id}
    await platform.until_done(again.erasure_id)
    assert (await platform.store.begin_user(platform.admin, "bob")).erasure_id != again.erasure_id


async def test_a_tenants_services_are_asked_in_the_order_in_which_data_flows(platform):
    begun = await platform.store.begin_tenant(platform.admin, f"{platform.tenant}-asking")
    await platform.until_done(begun.erasure_id)
    first = [platform.order.index(name) for name in NAMES]
    assert first == sorted(first)
    assert platform.order[:4] == ["ingest", "ingest", "embed", "ingest"]
    # Once more after the last key was revoked.
    assert platform.order[-len(NAMES) :] == list(NAMES)
    assert all(each.WhichOneof("scope") == "whole_tenant" for each in platform.keepers["ingest"].requests)


async def test_nothing_of_an_erased_tenant_stays_but_the_log_and_the_erasure_and_nothing_else_goes(platform):
    rival = uuid.uuid4().hex
    await fill(platform.sessions, rival)
    before = await rows_of(platform, rival)
    assert all(before.values()), "a table of the gateway is not filled by this test"
    begun = await platform.store.begin_tenant(platform.admin, f"{platform.tenant}-asking")
    good = "SELECT key_id FROM gateway.api_keys WHERE tenant_id = :tenant AND revoked_at IS NULL"
    assert await platform.scalar(good) == f"{platform.tenant}-asking"
    done = await platform.until_done(begun.erasure_id)
    assert set((await rows_of(platform, platform.tenant)).values()) == {0}
    assert await rows_of(platform, rival) == before
    assert done.removed["api_keys"] == 2
    assert done.removed["embed things"] == 2


async def test_the_end_is_in_the_audit_log_with_what_was_removed(platform):
    platform.keepers["generate"].stale = ("support", "sales")
    platform.keepers["feedback"].stale = ("support",)
    done = await platform.until_done((await platform.store.begin_user(platform.admin, "ada")).erasure_id)
    (event,) = await platform.audited()
    assert (event.subject, event.rpc) == ("system:erasure", "/tandem.gateway.v1.ErasureService/EraseUser")
    assert event.request == {
        "erasure_id": done.erasure_id,
        "removed": done.removed,
        "stale_adapters": ["sales", "support"],
    }
    assert done.stale_adapters == ("sales", "support")


async def test_an_erasure_waits_for_a_service_that_fails_and_goes_on_with_the_others(platform):
    platform.keepers["embed"].fault = Away("the index is away")
    begun = await platform.store.begin_user(platform.admin, "ada")
    for _ in range(3):
        await platform.runner.look()
    waiting = await platform.store.find(platform.admin, begun.erasure_id)
    assert waiting.finished_at is None
    assert waiting.removed["feedback things"] == 2
    assert "embed things" not in waiting.removed
    platform.keepers["embed"].fault = None
    assert (await platform.until_done(begun.erasure_id)).removed["embed things"] == 2


async def test_a_tenants_erasure_goes_no_further_than_a_service_that_is_down_and_on_when_it_is_up(platform):
    address = free_address()
    keeper = Keeper("ingest", platform.order)
    async with open_channel(address) as channel:
        erasers = [Eraser("ingest", channel, Outgoing(IdentitySigner(KEY)))]
        runner = ErasureRunner(platform.store, erasers, partial(datetime.now, UTC), PACE)
        begun = await platform.store.begin_tenant(platform.admin, None)
        await runner.look()
        assert (await platform.store.find(platform.admin, begun.erasure_id)).removed == {}
        assert (await rows_of(platform, platform.tenant))["api_keys"] == 2
        async with serving(partial(erasure_rpc.add_ErasureServiceServicer_to_server, keeper), address):
            platform.runner = runner
            done = await platform.until_done(begun.erasure_id)
    assert done.removed["ingest things"] == 2


async def test_an_erasure_that_a_dead_process_left_is_taken_up_by_another(platform):
    begun = await platform.store.begin_user(platform.admin, "ada")
    entered = asyncio.Event()

    async def die() -> None:
        async with platform.store.claim(begun.erasure_id):
            entered.set()
            await asyncio.Event().wait()

    dying = asyncio.create_task(die())
    await asyncio.wait_for(entered.wait(), SOON_SECONDS)
    # As long as it lives, no other touches the erasure.
    await platform.runner.look()
    assert platform.order == []
    dying.cancel()
    await asyncio.gather(dying, return_exceptions=True)
    assert (await platform.until_done(begun.erasure_id)).removed["ingest things"] == 2


async def test_two_replicas_count_nothing_twice(platform):
    begun = await platform.store.begin_user(platform.admin, "ada")
    for keeper in platform.keepers.values():
        keeper.left = 10
    async with asyncio.timeout(SOON_SECONDS):
        while not (await platform.store.find(platform.admin, begun.erasure_id)).finished_at:
            await asyncio.gather(platform.runner.look(), platform.runner.look())
    done = await platform.store.find(platform.admin, begun.erasure_id)
    assert [done.removed[f"{name} things"] for name in NAMES] == [10] * len(NAMES)
    assert len(await platform.audited()) == 1


@dataclass
class Whoever:
    """Lets one identity in, until it is told not to."""

    identity: Identity
    revoked: bool = False

    async def __call__(self, metadata):
        return self.identity


@contextlib.asynccontextmanager
async def face(platform: Platform, identity: Identity | None = None):
    servicer = ErasureServicer(platform.store, platform.runner.wake, 0.02)
    add = partial(rpc.add_ErasureServiceServicer_to_server, servicer)
    async with (
        serving(add, authenticate=Whoever(identity or platform.admin)) as address,
        grpc.aio.insecure_channel(address) as channel,
    ):
        yield rpc.ErasureServiceStub(channel)


@contextlib.asynccontextmanager
async def working(platform: Platform):
    task = asyncio.create_task(platform.runner.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_watch_shows_each_change_and_the_last_report_even_of_the_tenant_that_is_gone(platform):
    async with face(platform) as erasing, working(platform):
        begun = await erasing.EraseTenant(pb.EraseTenantRequest(confirmation=platform.tenant))
        seen = [
            answer.erasure
            async for answer in erasing.WatchErasure(
                pb.WatchErasureRequest(erasure_id=begun.erasure.erasure_id), timeout=SOON_SECONDS
            )
        ]
    assert seen[-1].state == pb.ERASURE_STATE_DONE
    assert {removed.kind: removed.count for removed in seen[-1].removed}["tenants"] == 1
    assert all(before != after for before, after in itertools.pairwise(seen))
    assert set((await rows_of(platform, platform.tenant)).values()) == {0}


@pytest.mark.parametrize("confirmation", ["", "another"])
async def test_without_its_own_name_no_tenant_is_erased(platform, confirmation):
    async with face(platform) as erasing:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await erasing.EraseTenant(pb.EraseTenantRequest(confirmation=confirmation))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert await platform.store.unfinished() == []


@pytest.mark.parametrize("user_id", ["", " ada", "a\0da", "x" * 201])
async def test_an_id_that_can_be_nobodys_is_refused(platform, user_id):
    async with face(platform) as erasing:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await erasing.EraseUser(pb.EraseUserRequest(user_id=user_id))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_another_tenants_erasures_are_not_there(platform):
    begun = await platform.store.begin_user(platform.admin, "ada")
    async with face(platform, Identity(uuid.uuid4().hex, "key:x", (), EVERY_ROLE)) as erasing:
        assert list((await erasing.ListErasures(pb.ListErasuresRequest())).erasures) == []
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await erasing.WatchErasure(pb.WatchErasureRequest(erasure_id=begun.erasure_id)).read()
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_erasures_page_newest_first(platform):
    ids = [(await platform.store.begin_user(platform.admin, name)).erasure_id for name in ("a", "b", "c")]
    async with face(platform) as erasing:
        first = await erasing.ListErasures(pb.ListErasuresRequest(page_size=2))
        rest = await erasing.ListErasures(pb.ListErasuresRequest(page_size=2, page_token=first.next_page_token))
    assert [each.erasure_id for each in (*first.erasures, *rest.erasures)] == ids[::-1]
    assert first.erasures[0].user_id == "c"
