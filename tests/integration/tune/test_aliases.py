"""Aliases on a real database: they move whole or not at all, one move at a time, and remember where they were."""

import asyncio
import math
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import insert, select

from services.common.access import RoleRequired
from services.common.database import open_database
from services.common.lora.errors import AdapterMissing, InvalidAdapterName
from services.common.lora.signing import AdapterVerifier
from services.tune.adapters.aliases import Trial
from services.tune.adapters.registry_tables import MOVES, REVISIONS
from services.tune.adapters.tables import SCHEMA
from services.tune.domain.adapters import AdapterReport, RuleResult
from services.tune.domain.canaries import Rule
from services.tune.domain.errors import GateFailed, NothingToRollBack
from services.tune.domain.registry import MoveAction
from services.tune.domain.registry_errors import (
    AdapterInUse,
    AdapterNotFound,
    AliasChanged,
    AliasNotFound,
    CanaryRunning,
    InvalidReason,
    NoCanary,
)
from services.tune.moving import Wish
from tests.integration.tune.registering import FAILED, PASSED, Registry, together

MIGRATIONS = Path(__file__).parents[3] / "services/tune/migrations"


@pytest.fixture
async def registry(stores_url, tmp_path):
    async with open_database(stores_url, MIGRATIONS, SCHEMA) as sessions:
        yield Registry(sessions, tmp_path)


async def promote(registry, digest, **fields):
    return await registry.mover.promote(registry.trainer, Wish("support", digest, **fields))


async def pointed(registry):
    return (await registry.aliases.find(registry.tenant_id, "support")).live.digest


async def test_a_move_is_kept_told_and_remembered(registry):
    first, second = await registry.make(), await registry.make()
    made = await promote(registry, first)
    moved = await promote(registry, second, reason="better on tickets")
    assert await registry.adapters.live(registry.tenant_id, "support") == second
    assert moved.revision > made.revision
    newest, oldest = await registry.aliases.history(registry.tenant_id, "support", None, 10)
    assert (newest.live.digest, newest.previous.digest, newest.reason) == (second, first, "better on tickets")
    assert (oldest.live.digest, oldest.previous.digest, oldest.subject) == (first, "", "user:ada")
    told = await registry.published()
    assert [(each.live.digest, each.live.owner, each.revision) for each in told] == [
        (first, "user:ada", made.revision),
        (second, "user:ada", moved.revision),
    ]
    assert (await registry.adapters.find(registry.tenant_id, second)).aliases == ("support",)


async def test_a_repeat_moves_nothing(registry):
    digest = await registry.make()
    assert await promote(registry, digest) == await promote(registry, digest)
    assert len(await registry.published()) == 1


async def test_a_move_that_cannot_be_written_down_does_not_happen(registry):
    first, second = await registry.make(), await registry.make()
    await promote(registry, first)
    async with registry.sessions.begin() as session:
        # The next lines of the history are taken, so that no move can add its own.
        taken = await session.scalar(select(REVISIONS.next_value()))
        [line] = (await session.execute(select(MOVES).where(MOVES.c.tenant_id == registry.tenant_id))).all()
        rows = [line._asdict() | {"revision": taken + number} for number in range(1, 500)]
        await session.execute(insert(MOVES), rows)
    with pytest.raises(Exception, match="pk_alias_moves"):
        await promote(registry, second)
    assert await pointed(registry) == first
    assert [each.live.digest for each in await registry.published()] == [first]


async def test_of_two_promotions_at_once_one_wins_and_the_other_is_told(registry):
    first, second, third = [await registry.make() for _ in range(3)]
    at = (await promote(registry, first)).revision
    found = await together(promote(registry, second, expected=at), promote(registry, third, expected=at))
    [lost] = [each for each in found if isinstance(each, Exception)]
    [won] = [each for each in found if not isinstance(each, Exception)]
    assert isinstance(lost, AliasChanged)
    assert lost.facts["revision"] == str(won.revision)
    assert await pointed(registry) == won.live.digest


async def test_of_two_that_make_the_alias_at_once_one_wins(registry):
    digests = [await registry.make() for _ in range(2)]
    found = await together(*(promote(registry, digest, expected=0) for digest in digests))
    assert sorted(isinstance(each, AliasChanged) for each in found) == [False, True]


async def test_many_moves_at_once_make_one_line_of_history(registry):
    digests = [await registry.make() for _ in range(10)]
    await asyncio.gather(*(promote(registry, digest) for digest in digests))
    history = await registry.aliases.history(registry.tenant_id, "support", None, 20)
    assert [each.previous.digest for each in history[:-1]] == [each.live.digest for each in history[1:]]
    assert {each.live.digest for each in history} == set(digests)
    assert await pointed(registry) == history[0].live.digest


async def test_a_report_is_kept_with_figures_that_are_none_and_texts_that_postgresql_refuses(registry):
    rule = RuleResult("latency", True, False, math.nan, 1.0, -math.inf, math.inf)
    document = {"worst": ["a\0b", "a\\u0000b"], "ratio": math.inf}
    digest = await registry.make(AdapterReport(True, (rule,), "", {"f1": math.nan, "em": 0.5}, document))
    report = (await registry.adapters.find(registry.tenant_id, digest)).adapter.report
    assert report.document == {"worst": ["ab", "a\\u0000b"], "ratio": None}
    assert (report.rules[0].bound, report.measures["em"]) == (1.0, 0.5)
    assert all(map(math.isnan, (report.rules[0].value, report.rules[0].low, report.measures["f1"])))


async def test_an_entry_never_changes(registry):
    digest = await registry.make(FAILED)
    kept = await registry.adapters.find(registry.tenant_id, digest)
    await registry.adapters.register(replace(kept.adapter, report=PASSED, owner="user:eve"))
    assert await registry.adapters.find(registry.tenant_id, digest) == kept


async def test_what_failed_at_the_gate_needs_an_admin_who_says_why(registry):
    digest, imported = await registry.make(FAILED), await registry.make(None)
    for one in (digest, imported):
        with pytest.raises(GateFailed):
            await promote(registry, one)
        with pytest.raises(InvalidReason):
            await promote(registry, one, override=True, reason=" ")
        with pytest.raises(RoleRequired):
            await promote(registry, one, override=True, reason="I know better")
        trial = Trial(one, 0.1, False, Rule())
        with pytest.raises(GateFailed):
            await registry.mover.start_canary(registry.trainer, Wish("support", one), trial)
    await registry.mover.promote(registry.admin, Wish("support", digest, override=True, reason="a demonstration"))
    [move] = await registry.aliases.history(registry.tenant_id, "support", None, 10)
    assert (move.overridden, move.subject, move.reason) == (True, "user:root", "a demonstration")


async def test_an_admin_alone_decides_that_everybody_may_be_answered(registry):
    digest = await registry.make()
    with pytest.raises(RoleRequired):
        await promote(registry, digest, cleared=True)
    await promote(registry, digest)
    await registry.mover.promote(registry.admin, Wish("support", digest, cleared=True))
    assert [each.live.cleared for each in await registry.published()] == [False, True]


async def test_rollbacks_go_back_step_by_step_to_the_base_model(registry):
    first, second = await registry.make(), await registry.make()
    await registry.mover.promote(registry.admin, Wish("support", first, cleared=True))
    await promote(registry, second)
    back = await registry.mover.roll_back(registry.trainer, Wish("support"))
    # Who may be answered is as it was then, too.
    assert (back.live.digest, back.live.cleared, back.live.owner) == (first, True, "user:root")
    assert (await registry.mover.roll_back(registry.trainer, Wish("support"))).live.digest == ""
    with pytest.raises(NothingToRollBack):
        await registry.mover.roll_back(registry.trainer, Wish("support"))
    await promote(registry, second)
    assert (await registry.mover.roll_back(registry.trainer, Wish("support"))).live.digest == ""


async def test_an_adapter_goes_when_nothing_points_at_it_and_takes_its_files_along(registry, tmp_path):
    first, second = await registry.make(), await registry.make()
    await promote(registry, first)
    with pytest.raises(AdapterInUse):
        await registry.adapters.delete(registry.tenant_id, first)
    await promote(registry, second)
    await registry.adapters.delete(registry.tenant_id, first)
    with pytest.raises(AdapterMissing):
        await registry.store.fetch(registry.tenant_id, first, tmp_path / "cache", AdapterVerifier(()))
    with pytest.raises(AdapterNotFound):
        await registry.adapters.delete(registry.tenant_id, first)
    with pytest.raises(AdapterNotFound):
        await registry.mover.roll_back(registry.trainer, Wish("support"))


async def test_a_deletion_and_a_promotion_at_once_leave_no_alias_without_its_adapter(registry):
    for _ in range(5):
        digest = await registry.make()
        await together(promote(registry, digest), registry.adapters.delete(registry.tenant_id, digest))
        alias = await registry.aliases.page(registry.tenant_id, "", 10)
        if alias and alias[0].live.digest == digest:
            assert (await registry.adapters.find(registry.tenant_id, digest)).aliases == ("support",)
        else:
            with pytest.raises(AdapterNotFound):
                await registry.adapters.find(registry.tenant_id, digest)


async def test_an_alias_that_is_gone_is_told_as_gone_and_made_anew_as_newer(registry):
    digest = await registry.make()
    await promote(registry, digest)
    await registry.mover.delete(registry.trainer, Wish("support"))
    for call in (registry.mover.delete, registry.mover.roll_back):
        with pytest.raises(AliasNotFound):
            await call(registry.trainer, Wish("support"))
    assert await registry.adapters.live(registry.tenant_id, "support") == ""
    assert await registry.aliases.page(registry.tenant_id, "", 10) == []
    [gone] = [each for each in await registry.aliases.told() if each.tenant_id == registry.tenant_id]
    assert gone.deleted
    registry.now += timedelta(days=8)
    assert registry.tenant_id not in {each.tenant_id for each in await registry.aliases.told()}
    again = await promote(registry, digest, expected=0)
    deleted, told = (await registry.published())[-2:]
    assert (deleted.deleted, told.deleted, told.revision) == (True, False, again.revision)
    assert told.revision > deleted.revision
    # What it was before is not its past any more.
    await registry.mover.roll_back(registry.trainer, Wish("support"))
    with pytest.raises(NothingToRollBack):
        await registry.mover.roll_back(registry.trainer, Wish("support"))


async def test_another_tenants_adapter_is_not_there(registry, tmp_path):
    rival = Registry(registry.sessions, tmp_path / "rival")
    digest = await registry.make()
    with pytest.raises(AdapterNotFound):
        await promote(rival, digest)
    with pytest.raises(AliasNotFound):
        await rival.aliases.find(rival.tenant_id, "support")


async def test_a_name_that_is_none_is_refused(registry):
    digest = await registry.make()
    for name in ("", "a/b", "x" * 101, "a\0"):
        with pytest.raises(InvalidAdapterName):
            await registry.mover.promote(registry.trainer, Wish(name, digest))


async def test_while_something_is_tried_the_alias_stays(registry):
    first, second, third = [await registry.make() for _ in range(3)]
    await promote(registry, first)
    with pytest.raises(NoCanary):
        await registry.mover.end_canary(registry.trainer, Wish("support"), promote=True)
    trial = Trial(second, 0.2, False, Rule())
    begun = await registry.mover.start_canary(registry.trainer, Wish("support", second), trial)
    assert await registry.mover.start_canary(registry.trainer, Wish("support", second), trial) == begun
    told = (await registry.published())[-1]
    assert (told.live.digest, told.canary.digest, told.canary_share) == (first, second, 0.2)
    assert told.canary_id == begun.canary.canary_id
    for blocked in (
        promote(registry, third),
        promote(registry, first),
        registry.mover.roll_back(registry.trainer, Wish("support")),
        registry.mover.delete(registry.trainer, Wish("support")),
        registry.mover.start_canary(registry.trainer, Wish("support", third), Trial(third, 0.2, False, Rule())),
    ):
        with pytest.raises(CanaryRunning):
            await blocked
    with pytest.raises(AdapterInUse):
        await registry.adapters.delete(registry.tenant_id, second)
    ended = await registry.mover.end_canary(registry.trainer, Wish("support", reason="enough"), promote=True)
    assert (ended.live.digest, ended.canary) == (second, None)
    newest = (await registry.aliases.history(registry.tenant_id, "support", None, 1))[0]
    assert (newest.action, newest.canary_digest, newest.reason) == (MoveAction.CANARY_PROMOTED, second, "enough")
    assert (await registry.mover.roll_back(registry.trainer, Wish("support"))).live.digest == first


async def test_a_canary_may_be_the_first_that_an_alias_has(registry):
    digest = await registry.make()
    wish = Wish("support", digest, expected=0)
    await registry.mover.start_canary(registry.trainer, wish, Trial(digest, 0.5, False, Rule()))
    [told] = await registry.published()
    assert (told.HasField("live"), told.canary.digest, told.deleted) == (False, digest, False)
    stopped = await registry.mover.end_canary(registry.trainer, Wish("support"), promote=False)
    assert (stopped.live.digest, stopped.deleted) == ("", False)
