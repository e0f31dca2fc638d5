"""What runs need of others: searches, ratings, the tuning that is live, and a process that trains."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from services.common.identity import Identity
from services.tune.domain.adapter_runs import DatasetCard, Step
from services.tune.domain.adapters import AdapterReport, RegisteredAdapter
from services.tune.domain.adapters import Candidate as AdapterCandidate
from services.tune.domain.data import Candidate, Pair, Question
from services.tune.domain.runs import LiveReranker


@dataclass(frozen=True, slots=True)
class Ranked:
    """What a search found: candidates in the fused order, or documents in the one that is live."""

    candidates: tuple[Candidate, ...]

    @property
    def documents(self) -> tuple[str, ...]:
        """Return the documents in their order, each once."""
        return tuple(dict.fromkeys(each.document_id for each in self.candidates))


class PassageSearch(Protocol):
    """Searches as somebody, and so finds what they may read.

    Every method raises ServiceUnavailable when the searches do not answer.
    """

    async def fused(self, identity: Identity, query: str, depth: int) -> Ranked:
        """Return at most `depth` passages in their order before any reranking."""
        ...

    async def live(self, identity: Identity, query: str, depth: int) -> Ranked:
        """Return at most `depth` passages in the order that searches give now."""
        ...


class DocumentSearch(Protocol):
    """Searches as somebody, as the tenant's searches are now."""

    async def documents(self, identity: Identity, query: str, passages: int) -> tuple[str, ...]:
        """Return the different documents of at most so many passages, best first.

        Raises:
            ServiceUnavailable: the searches do not answer.
            CallRefused: they say no.
        """
        ...


class RatedAnswers(Protocol):
    """What people found good and bad."""

    def questions(self, identity: Identity, rated_after: datetime | None) -> AsyncIterator[Question]:
        """Give what is known of each rated answer that `identity` may see.

        Raises:
            ServiceUnavailable: the ratings cannot be read.
        """
        ...


class LiveTuning(Protocol):
    """Which reranker a tenant's searches use.

    Every method raises ServiceUnavailable when it cannot be told or changed.
    """

    async def get(self, identity: Identity) -> LiveReranker:
        """Return what is live."""
        ...

    async def put(self, identity: Identity, digest: str, weight: float, expected_version: int) -> LiveReranker:
        """Have the tenant's searches use a reranker, "" for none, and return what is live then.

        Raises:
            TuningChanged: the live version is not the expected one.
        """
        ...


@dataclass(frozen=True, slots=True)
class Lesson:
    """What a process shall learn, and what it shall score with what it has learnt."""

    base: str
    seed: int
    pairs: Sequence[Pair]
    scored: Sequence[tuple[str, Sequence[str]]]


@dataclass(frozen=True, slots=True)
class Learnt:
    """A reranker's folder, and its scores of each query's texts."""

    folder: Path
    scores: Sequence[Sequence[float]]


class Trainer(Protocol):
    """Trains in a process of its own, which ends with the call."""

    async def train(self, lesson: Lesson, folder: Path, told: Callable[[str, float], Awaitable[None]]) -> Learnt:
        """Train in `folder`; `told` hears of each stage and how far it is.

        Raises:
            TrainingFailed: the process ended without a reranker.
        """
        ...


Tell = Callable[[str, float], Awaitable[None]]


class Teller(Protocol):
    """Hears how far a run is, and raises RunEnded where somebody has ended it."""

    async def __call__(self, stage: str, progress: float) -> None:
        """Hear of a stage and of how much of it is done, 0 to 1."""
        ...

    async def advance(self, stage: str, step: Step) -> None:
        """Hear of a step of training."""
        ...

    async def resolve(self, hyperparameters: Mapping[str, float]) -> None:
        """Hear what training computes with, by name."""
        ...


class TrainingData(Protocol):
    """Data sets of all tenants.

    Every method raises DatasetNotFound where the tenant has none such, and DatasetsUnavailable where it cannot be told.
    """

    async def card(self, tenant_id: str, digest: str) -> DatasetCard:
        """Return what is known of a data set."""
        ...

    async def fetch(self, tenant_id: str, digest: str, file: Path) -> None:
        """Write the rows to learn from into a parquet file.

        Raises:
            DatasetAltered: the store holds others than were built.
        """
        ...


class AdapterTrainer(Protocol):
    """Trains adapters in a process of its own, which ends with the call."""

    async def train(self, folder: Path, told: Teller) -> Path:
        """Train what spec.json in `folder` says, and return the adapter's folder; what there is is taken up again.

        Raises:
            TooLittleData, InsufficientMemory, ParentNotFit: it cannot be trained.
            TrainingFailed: the process ended without an adapter.
        """
        ...


class CandidateGate(Protocol):
    """Measures adapters against what is live."""

    async def judge(self, candidate: AdapterCandidate, told: Tell) -> AdapterReport:
        """Return how a candidate did."""
        ...


class AdapterRegistry(Protocol):
    """Keeps what is known of adapters."""

    async def register(self, entry: RegisteredAdapter) -> None:
        """Keep an adapter; the same once more changes nothing."""
        ...

    async def live(self, tenant_id: str, alias: str) -> str:
        """Return the digest of what an alias points at, "" for the base model."""
        ...
