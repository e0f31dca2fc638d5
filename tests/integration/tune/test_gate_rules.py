"""The gate's rules on a real database: versions, who may not see them, two at once, and erasure."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest
from tandem.tune.v1 import gate_service_pb2 as pb

from services.common.access import Role, required_role
from services.common.database import open_database
from services.common.identity import Identity, set_caller
from services.common.pages import InvalidPage, token_of
from services.tune.adapters import gate_rules
from services.tune.adapters.gate_rules import PostgresGateRules, erase_rules
from services.tune.domain.gate_rules import InvalidRules, RulesChanged, RulesNotFound
from services.tune.evaluating import Clock
from services.tune.gate.shipped import RULES
from services.tune.gate_servicer import GATE, GateServicer

MIGRATIONS = Path(__file__).parents[3] / "services/tune/migrations"
DEFAULT = RULES.read_text()
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def rules(bound: float) -> str:
    return f'proof = []\n[[rules]]\nmeasure = "safety"\nkind = "not_worse"\nbound = {bound}\n'


class Platform:
    def __init__(self, sessions) -> None:
        self.sessions = sessions
        self.store = PostgresGateRules(sessions, DEFAULT)
        self.servicer = GateServicer(self.store, Clock(lambda: NOW, lambda: uuid4().hex))
        self.root = Identity(uuid4().hex, "user:root", ("user:root",), frozenset({Role.ADMIN}))

    async def get(self, version=0, who=None) -> pb.GateRules:
        set_caller(who or self.root)
        return (await self.servicer.GetGateRules(pb.GetGateRulesRequest(version=version), None)).rules

    async def put(self, content, expected=0, who=None) -> pb.GateRules:
        set_caller(who or self.root)
        request = pb.PutGateRulesRequest(content=content, expected_version=expected)
        return (await self.servicer.PutGateRules(request, None)).rules

    async def listed(self, size=0, token="", who=None) -> pb.ListGateRulesResponse:
        set_caller(who or self.root)
        return await self.servicer.ListGateRules(pb.ListGateRulesRequest(page_size=size, page_token=token), None)

    async def erase(self, subjects):
        async with self.sessions.begin() as session:
            return await erase_rules(session, self.root.tenant_id, subjects)


@pytest.fixture
async def platform(database_url):
    async with open_database(database_url, MIGRATIONS, "tune") as sessions:
        yield Platform(sessions)


def test_who_trains_cannot_lower_the_bar():
    assert required_role(f"/{GATE}/PutGateRules") is Role.ADMIN
    assert required_role(f"/{GATE}/GetGateRules") is Role.TRAINER


async def test_where_nobody_has_put_rules_the_deployments_hold(platform):
    held = await platform.get()
    assert (held.version, held.content, held.HasField("put_at")) == (0, DEFAULT, False)
    assert not (await platform.listed()).rules
    with pytest.raises(RulesNotFound):
        await platform.get(version=1)


async def test_what_was_put_holds_and_what_held_before_is_kept(platform):
    await platform.put(rules(0.1))
    second = await platform.put(rules(0.2), expected=1)
    assert (second.version, second.subject) == (2, "user:root")
    assert (await platform.get()).content == rules(0.2)
    assert (await platform.get(version=1)).content == rules(0.1)
    assert (await platform.store.live(platform.root)).rules.rules[0].bound == 0.2


async def test_a_repeat_changes_nothing(platform):
    first = await platform.put(rules(0.1))
    assert await platform.put(rules(0.1)) == first
    assert len((await platform.listed()).rules) == 1


async def test_who_has_not_seen_what_holds_changes_nothing(platform):
    await platform.put(rules(0.1))
    with pytest.raises(RulesChanged):
        await platform.put(rules(0.3))
    assert (await platform.get()).content == rules(0.1)


async def test_of_two_at_once_one_holds(platform):
    found = await asyncio.gather(
        *(platform.store.put(platform.root, rules(bound), 0, NOW) for bound in (0.1, 0.2, 0.3)), return_exceptions=True
    )
    assert sum(isinstance(each, RulesChanged) for each in found) == 2
    assert len((await platform.listed()).rules) == 1


@pytest.mark.parametrize("content", ["", "no rules", "proof = []\nrules = []", 'x = "\0"'])
async def test_what_is_no_file_of_rules_is_refused_and_what_held_holds(platform, content):
    with pytest.raises(InvalidRules):
        await platform.put(content)
    assert (await platform.get()).version == 0


async def test_versions_are_paged_newest_first_and_the_oldest_go(platform, monkeypatch):
    monkeypatch.setattr(gate_rules, "KEPT_VERSIONS", 4)
    for number in range(6):
        await platform.put(rules(number), expected=number)
    first = await platform.listed(size=3)
    rest = await platform.listed(size=3, token=first.next_page_token)
    assert [each.version for each in (*first.rules, *rest.rules)] == [6, 5, 4, 3]
    assert not rest.next_page_token
    with pytest.raises(InvalidPage):
        await platform.listed(token=token_of("²"))
    with pytest.raises(InvalidPage):
        await platform.listed(token=token_of("9" * 30))


async def test_another_tenant_sees_and_erases_nothing_of_it(platform):
    await platform.put(rules(0.1))
    bob = Identity(uuid4().hex, "user:root", ("user:root",), frozenset({Role.ADMIN}))
    assert (await platform.get(who=bob)).version == 0
    with pytest.raises(RulesNotFound):
        await platform.get(version=1, who=bob)
    async with platform.sessions.begin() as session:
        assert await erase_rules(session, bob.tenant_id, None) == {"gate rules": 0}
    assert (await platform.get()).version == 1


async def test_who_is_erased_has_put_them_namelessly_and_a_tenant_that_is_gone_has_none(platform):
    await platform.put(rules(0.1))
    assert await platform.erase(["user:root", "user:eve"]) == {"names in gate rules": 1}
    assert ((await platform.get()).content, (await platform.get()).subject) == (rules(0.1), "")
    assert await platform.erase(None) == {"gate rules": 1}
    assert (await platform.get()).version == 0
