"""A canary on a real database: what records count for, and how the rule moves the alias."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select

from services.common.database import open_database
from services.tune.adapters.adapter_erasure import Withdrawal
from services.tune.adapters.aliases import Trial
from services.tune.adapters.registry_tables import ANSWERS, RATINGS
from services.tune.adapters.tables import SCHEMA
from services.tune.canarying import CanaryWatcher
from services.tune.domain.canaries import CanaryState, Decision, Rule
from services.tune.domain.registry import MoveAction
from services.tune.moving import Wish
from tests.integration.tune.registering import Registry

MIGRATIONS = Path(__file__).parents[3] / "services/tune/migrations"


@pytest.fixture
async def registry(stores_url, tmp_path):
    async with open_database(stores_url, MIGRATIONS, SCHEMA) as sessions:
        yield Registry(sessions, tmp_path)


async def begin(registry, rule=Rule()):  # noqa: B008 - a value that never changes
    """Put an adapter into use, try another one under the same alias, and return both and the canary's id."""
    old, new = await registry.make(), await registry.make()
    await registry.mover.promote(registry.trainer, Wish("support", old))
    alias = await registry.mover.start_canary(registry.trainer, Wish("support", new), Trial(new, 0.5, False, rule))
    return old, new, alias.canary.canary_id


async def talk(registry, canary_id, *, canary, ups=0, downs=0, raters=10):
    """Have people be answered by one arm, and rate that."""
    for number in range(ups + downs):
        name = f"{canary_id} {canary} {number}"
        await registry.answered(canary_id, name, canary=canary)
        await registry.rated(name, up=number < ups, by=f"user:{number % raters}")


async def arms(registry):
    alias = await registry.aliases.find(registry.tenant_id, "support")
    return (await registry.canaries.look(registry.tenant_id, alias.canary, registry.now)).arms


async def ended(registry):
    """Return the alias and the last canary, after a look at all."""
    await registry.watcher.look()
    alias = await registry.aliases.find(registry.tenant_id, "support")
    return alias, await registry.canaries.last(registry.tenant_id, "support")


async def test_a_better_canary_is_promoted_as_a_person_would_and_the_decision_is_kept(registry):
    _, new, canary_id = await begin(registry)
    await talk(registry, canary_id, canary=True, ups=40)
    await talk(registry, canary_id, canary=False, ups=15, downs=25)
    alias, (canary, look) = await ended(registry)
    assert (alias.live.digest, alias.canary, alias.subject) == (new, None, "canary")
    # Whose it is stays with who began it.
    assert alias.live.owner == "user:ada"
    assert (canary.state, look.decision) == (CanaryState.PROMOTED, Decision.PROMOTE)
    assert (look.arms.canary.ups, look.arms.old.ups, look.arms.old.downs) == (40, 15, 25)
    [move] = await registry.aliases.history(registry.tenant_id, "support", None, 1)
    assert (move.action, move.reason) == (MoveAction.CANARY_PROMOTED, look.reason)
    told = (await registry.published())[-1]
    assert (told.live.digest, told.HasField("canary"), told.revision) == (new, False, alias.revision)
    assert (await registry.canaries.decisions(registry.tenant_id, canary_id))[0] == look
    # What was counted one by one is gone, and what comes late counts for nothing.
    await registry.answered(canary_id, "late", canary=True)
    async with registry.sessions() as session:
        for table in (ANSWERS, RATINGS):
            own = select(func.count()).where(table.c.tenant_id == registry.tenant_id)
            assert await session.scalar(own) == 0
    await registry.mover.roll_back(registry.trainer, Wish("support"))


async def test_a_worse_canary_is_rolled_back(registry):
    old, _, canary_id = await begin(registry)
    await talk(registry, canary_id, canary=True, ups=10, downs=40)
    await talk(registry, canary_id, canary=False, ups=40, downs=10)
    alias, (canary, _) = await ended(registry)
    assert (alias.live.digest, alias.canary, canary.state) == (old, None, CanaryState.ROLLED_BACK)


async def test_a_canary_that_fails_is_rolled_back_before_anybody_rates(registry):
    old, _, canary_id = await begin(registry)
    for number in range(30):
        await registry.answered(canary_id, f"old {number}", canary=False)
    for number in range(10):
        await registry.failed(canary_id, f"talk {number}", canary=True)
    alias, (canary, look) = await ended(registry)
    assert (alias.live.digest, canary.state) == (old, CanaryState.ROLLED_BACK)
    assert (look.arms.canary.failures, look.arms.canary.answers, look.errors.value) == (10, 0, 1.0)


async def test_equal_arms_go_on_and_it_is_put_down_that_they_do(registry):
    _, new, canary_id = await begin(registry)
    for canary in (True, False):
        await talk(registry, canary_id, canary=canary, ups=10, downs=10)
    for _ in range(3):
        alias, last = await ended(registry)
        assert (alias.canary.digest, last) == (new, None)
    [decision] = await registry.canaries.decisions(registry.tenant_id, canary_id)
    assert decision.decision is Decision.CONTINUE
    # Nothing has changed for an hour, and then something has.
    registry.now += timedelta(hours=1)
    await registry.watcher.look()
    assert len(await registry.canaries.decisions(registry.tenant_id, canary_id)) == 1
    await registry.answered(canary_id, "new", canary=True)
    await registry.watcher.look()
    assert len(await registry.canaries.decisions(registry.tenant_id, canary_id)) == 2


async def test_at_the_end_of_its_time_the_old_one_stays(registry):
    old, _, canary_id = await begin(registry, Rule(max_days=2))
    await talk(registry, canary_id, canary=True, ups=1)
    registry.now += timedelta(days=2)
    alias, (canary, look) = await ended(registry)
    assert (alias.live.digest, canary.state, look.decision) == (old, CanaryState.EXPIRED, Decision.KEEP_OLD)


async def test_one_rater_counts_for_so_many_ratings_and_no_more(registry):
    _, _, canary_id = await begin(registry, Rule(max_ratings_per_rater=3))
    await talk(registry, canary_id, canary=True, ups=50, raters=1)
    await talk(registry, canary_id, canary=False, downs=50, raters=1)
    found = await arms(registry)
    assert (found.canary.ups, found.canary.ignored_ratings, found.canary.raters) == (3, 47, 1)
    assert (found.old.downs, found.old.ignored_ratings) == (3, 47)
    alias, _ = await ended(registry)
    assert alias.canary is not None


async def test_a_rating_counts_once_with_its_last_opinion_whatever_order_records_come_in(registry):
    _, _, canary_id = await begin(registry)
    # The rating's topic is ahead of the interactions'.
    await registry.rated("i1", up=True, rating_id="r1")
    assert (await arms(registry)).canary.ups == 0
    for _ in range(2):
        await registry.answered(canary_id, "i1", canary=True, total_ms=20_000, sentences=4, supported_share=0.2)
    found = (await arms(registry)).canary
    assert (found.ups, found.answers, found.late, found.unsupported) == (1, 1, 1, 1)
    early = registry.now
    await registry.rated("i1", up=False, rating_id="r1")
    registry.now = early - timedelta(minutes=1)
    await registry.rated("i1", up=True, rating_id="r1")
    found = (await arms(registry)).canary
    assert (found.ups, found.downs, found.raters) == (0, 1, 1)


async def test_answers_of_another_tenant_or_of_no_canary_count_for_nothing(registry, tmp_path):
    _, _, canary_id = await begin(registry)
    rival = Registry(registry.sessions, tmp_path / "rival")
    await rival.answered(canary_id, "i1", canary=True)
    await rival.rated("i1", up=True)
    await registry.answered("unknown", "i2", canary=True)
    await registry.answered(canary_id, "i3", canary=True, overridden=True)
    await registry.answered(canary_id, "i4", canary=True, conversation_id="evaluation-1")
    assert (await arms(registry)).conversations == 0


async def test_records_that_are_none_do_not_hold_the_others_up(registry):
    _, _, canary_id = await begin(registry)
    await registry.answered(canary_id, "a\0b", canary=True)
    await registry.answered(canary_id, "i1", canary=True)
    assert (await arms(registry)).canary.answers == 1


async def test_who_is_erased_counts_for_nothing_and_neither_does_what_comes_late_of_them(registry):
    _, _, canary_id = await begin(registry)
    for number, asker in enumerate(("user:ada", "user:bob", "user:eve")):
        await registry.answered(canary_id, f"i{number}", canary=True, subject=asker)
        await registry.rated(f"i{number}", up=True, by=asker)
    await registry.rated("i2", up=True, by="user:bob")
    before = registry.now
    removal = Withdrawal(registry.store, registry.outbox)
    async with registry.sessions.begin() as session:
        counts, stale = await removal.of_people(session, registry.tenant_id, ["user:bob"], registry.tick())
    assert (counts["canary ratings"], stale) == (3, ())
    found = (await arms(registry)).canary
    assert (found.answers, found.ups, found.raters) == (2, 2, 2)
    after, registry.now = registry.now, before - timedelta(seconds=2)
    await registry.answered(canary_id, "late", canary=True, subject="user:bob")
    await registry.rated("i2", up=True, by="user:bob")
    assert (await arms(registry)).canary == found
    # Who comes back is somebody new.
    registry.now = after
    await registry.rated("i2", up=True, by="user:bob")
    assert (await arms(registry)).canary.ups == 3


async def test_of_several_that_look_at_once_one_decides(registry):
    _, new, canary_id = await begin(registry)
    await talk(registry, canary_id, canary=True, ups=40)
    await talk(registry, canary_id, canary=False, downs=40)
    watchers = [CanaryWatcher(registry.canaries, registry.aliases, lambda: registry.now) for _ in range(4)]
    await asyncio.gather(*(watcher.look() for watcher in watchers))
    await registry.watcher.look()
    history = await registry.aliases.history(registry.tenant_id, "support", None, 10)
    assert [each.action for each in history].count(MoveAction.CANARY_PROMOTED) == 1
    assert history[0].live.digest == new


async def test_what_a_person_ends_is_shown_as_it_was_then(registry):
    _, _, canary_id = await begin(registry)
    await talk(registry, canary_id, canary=True, ups=2, downs=1)
    await registry.mover.end_canary(registry.trainer, Wish("support"), promote=False)
    canary, look = await registry.canaries.last(registry.tenant_id, "support")
    assert (canary.state, look.arms.canary.ups, look.arms.canary.downs) == (CanaryState.STOPPED, 2, 1)
    assert canary.canary_id == canary_id
