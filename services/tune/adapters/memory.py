"""Searches, ratings, a tuning, a trainer, a gate and a registry in memory, for tests and for trying things out."""

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from services.common.identity import Identity
from services.common.lora.store import CONFIG as CONFIG_NAME
from services.common.lora.store import WEIGHTS
from services.tune.adapters.trainer import Tell
from services.tune.domain.adapter_runs import Step
from services.tune.domain.adapters import AdapterReport, RegisteredAdapter
from services.tune.domain.adapters import Candidate as AdapterCandidate
from services.tune.domain.data import Candidate, Question
from services.tune.domain.runs import LiveReranker, Stage
from services.tune.ports import Learnt, Lesson, Ranked, Teller
from services.tune.training.spec import PROBE, Layout

CONFIG = {"architectures": ["BertForSequenceClassification"], "id2label": {"0": "LABEL_0"}}
NO_PROBE = {"prompt": [1], "completion": [2], "logprobs": [-1.0], "base_logprobs": [-2.0]}


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


class MemoryGate:
    """A CandidateGate that lets everything through, or nothing."""

    def __init__(self, *, passes: bool = True) -> None:
        self._passes = passes
        self.judged: list[AdapterCandidate] = []

    async def judge(self, candidate: AdapterCandidate, told: Tell) -> AdapterReport:
        self.judged.append(candidate)
        return AdapterReport(self._passes, (), "")


class MemoryRegistry:
    """An AdapterRegistry of one process, with no aliases."""

    def __init__(self) -> None:
        self.entries: dict[tuple[str, str], RegisteredAdapter] = {}

    async def register(self, entry: RegisteredAdapter) -> None:
        self.entries.setdefault((entry.tenant_id, entry.digest), entry)

    async def live(self, tenant_id: str, alias: str) -> str:
        return ""


class MemoryAdapterTrainer:
    """An AdapterTrainer whose adapter is files of the right names, the same for the same seed."""

    def __init__(self) -> None:
        self.trained: list[Path] = []

    async def train(self, folder: Path, told: Teller) -> Path:
        layout = Layout(folder)
        spec = layout.read()
        self.trained.append(folder)
        await told.advance(Stage.TRAINING, Step(1, 1, 0.5))
        layout.adapter.mkdir()
        numbers = spec.hyperparameters
        config = {
            "peft_type": "LORA",
            "base_model_name_or_path": spec.base_name,
            "r": numbers.rank,
            "lora_alpha": numbers.alpha,
            "target_modules": ".*",
            "seed": spec.seed,
        }
        (layout.adapter / CONFIG_NAME).write_text(json.dumps(config))
        (layout.adapter / WEIGHTS).write_bytes(b"weights")
        (layout.adapter / PROBE).write_text(json.dumps(NO_PROBE))
        return layout.adapter
