"""A run from its questions to a reranker that is published with what was measured."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from services.common.identity import Identity
from services.common.rerankers import Rerankers
from services.tune.adapters.memory import MemoryRatings, MemorySearch, MemoryTrainer, MemoryTuning
from services.tune.conducting import Conductor, Sources
from services.tune.domain.data import Candidate, Positive, Question
from services.tune.domain.errors import RunEnded, TooLittleData
from services.tune.domain.runs import LiveReranker, Order, Origin, Run, RunState

ADA = Identity("acme", "user:ada", ("everyone", "user:ada"))
NOW = datetime(2026, 11, 30, tzinfo=UTC)
COUNT = 60


def candidates(number: int) -> list[Candidate]:
    """The answer comes fourth."""
    names = ["x", "y", "z", f"d{number}", "w"]
    return [
        Candidate(f"{name}/{number}", name, f"{name} answers {number}", 1.0 - place / 10)
        for place, name in enumerate(names)
    ]


FOUND = {f"question {number}": candidates(number) for number in range(COUNT)}
QUESTIONS = tuple(Question(f"question {number}", (Positive(f"d{number}"),)) for number in range(COUNT))


def knows(_query: str, text: str) -> float:
    return float(text.startswith("d"))


class World:
    def __init__(self, tmp_path: Path, score=knows, rated=()) -> None:
        self.folder, self.store = tmp_path / "run", Rerankers(str(tmp_path / "blobs"))
        self.trainer, self.tuning = MemoryTrainer(score), MemoryTuning()
        sources = Sources(MemorySearch(FOUND), MemoryRatings(rated), self.tuning)
        self.conductor = Conductor(sources, self.trainer, self.store, lambda: NOW)
        self.told: list[tuple[str, float]] = []

    async def conduct(self, origin=Origin.TRAINING_SET, questions=QUESTIONS):
        order = Order(ADA, "", "mini", origin, 7, questions)
        run = Run("acme", "run1", RunState.RUNNING, "user:ada", "mini", origin, 7, NOW)
        return await self.conductor.conduct(run, order, self.folder, self.tell)

    async def tell(self, stage: str, progress: float) -> None:
        self.told.append((stage, progress))


async def test_a_reranker_that_knows_is_published_with_its_report(tmp_path: Path):
    world = World(tmp_path)
    world.tuning.now = LiveReranker("f" * 64, 0.5, 3)
    made = await world.conduct()
    report = made.report
    assert report.passed
    assert (report.trained_queries, report.tuned_queries, report.held_out_queries) == (36, 9, 15)
    assert (report.candidate_ndcg, report.live_reranker, report.depth) == (1.0, "f" * 64, 30)
    assert report.pairs == 36 * 5
    folder = await world.store.fetch(made.digest, tmp_path / "cache")
    card = json.loads((folder / "tandem.json").read_bytes())
    assert (card["tenant_id"], card["run_id"], card["seed"]) == ("acme", "run1", 7)
    assert list(dict.fromkeys(stage for stage, _ in world.told)) == ["gathering", "training", "publishing"]


async def test_what_is_held_out_is_not_learnt(tmp_path: Path):
    world = World(tmp_path)
    await world.conduct()
    [lesson] = world.trainer.lessons
    learnt, scored = {pair.query for pair in lesson.pairs}, {query for query, _ in lesson.scored}
    assert not learnt & scored
    assert len(learnt | scored) == COUNT


async def test_a_reranker_that_knows_nothing_is_kept_and_does_not_pass(tmp_path: Path):
    world = World(tmp_path, score=lambda *_: 0.0)
    made = await world.conduct()
    assert not made.report.passed
    assert made.report.candidate_ndcg == made.report.live_ndcg


async def test_what_it_learnt_from_is_remembered(tmp_path: Path):
    rated = [
        Question(each.text, each.positives, people=frozenset({"user:bob", f"user:{number % 2}"}))
        for number, each in enumerate(QUESTIONS)
    ]
    made = await World(tmp_path, rated=rated).conduct(Origin.RATINGS, ())
    assert made.lineage.people == ("user:0", "user:1", "user:bob")
    assert {"x", "d0", f"d{COUNT - 1}"} <= set(made.lineage.documents)


async def test_ratings_that_found_nothing_good_teach_nothing(tmp_path: Path):
    bad = [Question(each.text, (), frozenset({"x/1"})) for each in QUESTIONS]
    with pytest.raises(TooLittleData):
        await World(tmp_path, rated=bad).conduct(Origin.RATINGS, ())


async def test_a_run_that_was_ended_stops_where_it_is(tmp_path: Path):
    world = World(tmp_path)

    async def ended(*_: object) -> None:
        raise RunEnded

    world.tell = ended  # type: ignore[method-assign]
    with pytest.raises(RunEnded):
        await world.conduct()
    assert not world.trainer.lessons
