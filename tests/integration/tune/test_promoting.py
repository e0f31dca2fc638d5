"""Promotions on a real database: what passed, what is live, and the way back through all of it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from services.common.access import Role
from services.common.database import open_database
from services.common.identity import Identity
from services.tune.adapters.memory import MemoryTuning
from services.tune.adapters.postgres import PostgresRerankers
from services.tune.adapters.runs import PostgresRuns
from services.tune.adapters.tables import SCHEMA
from services.tune.domain.errors import GateFailed, NothingToRollBack, RerankerNotFound
from services.tune.domain.runs import GateReport, Lineage, LiveReranker, Order, Origin, Reranker
from services.tune.promoting import Promoter
from tests.integration.tune.running import tenant

MIGRATIONS = Path(__file__).parents[3] / "services/tune/migrations"
BEGUN = datetime(2026, 11, 30, tzinfo=UTC)


class World:
    def __init__(self, sessions) -> None:
        self.runs, self.rerankers, self.tuning = PostgresRuns(sessions), PostgresRerankers(sessions), MemoryTuning()
        self.trainer = Identity(tenant(), "user:ada", (), frozenset({Role.TRAINER}))
        self._count = 0
        self.promoter = Promoter(self.rerankers, self.tuning, self.now, lambda: f"p{self._count}")

    def now(self) -> datetime:
        self._count += 1
        return BEGUN + timedelta(minutes=self._count)

    async def make(self, digest: str, *, passed: bool = True) -> str:
        """Have a run make a reranker."""
        order = Order(self.trainer, "", "tiny", Origin.RATINGS, 1)
        run = await self.runs.add(order, f"run-{digest[0]}", self.now())
        report = GateReport(passed, 10, 3, 5, 60, 0.5, 0.6, 0.01, 0.2, 0.4, 30, "", "")
        async with self.runs.claim(self.trainer.tenant_id, self.now()) as claimed:
            assert claimed is not None
            assert claimed == (claimed[0], order)
            made = Reranker(digest, run.run_id, "tiny", report, Lineage(("d1",), ("user:bob",)), self.now())
            assert await self.runs.succeed(run, made, self.now())
        assert await self.rerankers.find(self.trainer, digest) == made
        return digest


@pytest.fixture
async def world(stores_url):
    async with open_database(stores_url, MIGRATIONS, SCHEMA) as sessions:
        yield World(sessions)


async def test_a_trainer_puts_what_passed_into_use_and_goes_back_step_by_step(world):
    first, second = await world.make("a" * 64), await world.make("b" * 64)
    for digest in (first, second):
        promotion = await world.promoter.promote(world.trainer, digest, override=False)
        assert (promotion.reranker, promotion.overridden) == (digest, False)
    assert await world.promoter.promote(world.trainer, second, override=False) is None
    assert world.tuning.now == LiveReranker(second, 0.4, 2)
    for digest in (first, ""):
        back = await world.promoter.roll_back(world.trainer)
        assert (back.reranker, world.tuning.now.digest) == (digest, digest)
    with pytest.raises(NothingToRollBack):
        await world.promoter.roll_back(world.trainer)
    shown = await world.rerankers.promotions(world.trainer, None, 10)
    assert [(each.reranker[:1], each.previous[:1]) for each in shown] == [("", "a"), ("a", "b"), ("b", "a"), ("a", "")]


async def test_what_did_not_pass_is_not_put_into_use(world):
    digest = await world.make("c" * 64, passed=False)
    with pytest.raises(GateFailed):
        await world.promoter.promote(world.trainer, digest, override=False)
    assert world.tuning.now == LiveReranker()


async def test_what_somebody_else_put_into_use_since_is_not_taken_back(world):
    await world.promoter.promote(world.trainer, await world.make("d" * 64), override=False)
    world.tuning.now = LiveReranker("e" * 64, 1.0, 9)
    with pytest.raises(NothingToRollBack):
        await world.promoter.roll_back(world.trainer)


async def test_another_tenants_reranker_cannot_be_put_into_use(world):
    digest = await world.make("f" * 64)
    rival = Identity(tenant(), "user:eve", (), frozenset({Role.ADMIN}))
    with pytest.raises(RerankerNotFound):
        await world.promoter.promote(rival, digest, override=True)


async def test_a_run_that_was_ended_keeps_nothing(world):
    order = Order(world.trainer, "", "tiny", Origin.RATINGS, 1)
    run = await world.runs.add(order, "run-g", world.now())
    async with world.runs.claim(world.trainer.tenant_id, world.now()) as claimed:
        assert claimed
        async with world.runs.claim(world.trainer.tenant_id, world.now()) as other:
            assert other is None
        assert await world.runs.tell(run, "training", 0.5)
        await world.runs.cancel(world.trainer, run.run_id, world.now())
        assert not await world.runs.tell(run, "training", 0.6)
        report = GateReport(True, 10, 3, 5, 60, 0.5, 0.6, 0.01, 0.2, 0.4, 30, "", "")
        made = Reranker("g" * 64, run.run_id, "tiny", report, Lineage(), world.now())
        assert not await world.runs.succeed(run, made, world.now())
    assert await world.rerankers.page(world.trainer, None, 10) == []
