"""Searches, ratings, a tuning and a trainer in memory, for tests and for trying things out."""

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from services.common.identity import Identity
from services.tune.adapters.trainer import Tell
from services.tune.domain.data import Candidate, Question
from services.tune.domain.runs import LiveReranker, Stage
from services.tune.ports import Learnt, Lesson, Ranked

CONFIG = {"architectures": ["BertForSequenceClassification"], "id2label": {"0": "LABEL_0"}}


class MemorySearch:
    """A PassageSearch that has all passages of each question in one order."""

    def __init__(self, found: Mapping[str, Sequence[Candidate]]) -> None:
        self._found = found

    async def fused(self, identity: Identity, query: str, depth: int) -> Ranked:
        return Ranked(tuple(self._found.get(query, ()))[:depth])

    async def live(self, identity: Identity, query: str, depth: int) -> Ranked:
        return await self.fused(identity, query, depth)


class MemoryRatings:
    """RatedAnswers of a list."""

    def __init__(self, rated: Sequence[Question] = ()) -> None:
        self._rated = rated

    async def questions(self, identity: Identity, rated_after: datetime | None) -> AsyncIterator[Question]:
        for question in self._rated:
            yield question


class MemoryTuning:
    """A LiveTuning of one tenant."""

    def __init__(self) -> None:
        self.now = LiveReranker()

    async def get(self, identity: Identity) -> LiveReranker:
        return self.now

    async def put(self, identity: Identity, digest: str, weight: float, expected_version: int) -> LiveReranker:
        self.now = LiveReranker(digest, weight, expected_version + 1)
        return self.now


class MemoryTrainer:
    """A Trainer whose reranker scores by a function, and is files of the right names."""

    def __init__(self, score: Callable[[str, str], float]) -> None:
        self._score = score
        self.lessons: list[Lesson] = []

    async def train(self, lesson: Lesson, folder: Path, told: Tell) -> Learnt:
        self.lessons.append(lesson)
        await told(Stage.TRAINING, 1.0)
        made = folder / "reranker"
        made.mkdir(parents=True)
        (made / "config.json").write_text(json.dumps(CONFIG))
        (made / "tokenizer.json").write_text("{}")
        (made / "model.safetensors").write_bytes(b"weights")
        return Learnt(made, [[self._score(query, text) for text in texts] for query, texts in lesson.scored])
