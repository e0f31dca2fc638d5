"""Builds and data sets, as they are listed and shown."""

from dataclasses import dataclass
from datetime import datetime

from services.tune.domain.runs import RunState

MAX_WAITING_BUILDS = 20


@dataclass(frozen=True, slots=True)
class DatasetBuild:
    """Work that makes a data set; `dataset` is the digest of what it made, "" until it has succeeded."""

    tenant_id: str
    build_id: str
    state: RunState
    kind: str
    origins: tuple[str, ...]
    subject: str
    created_at: datetime
    stage: str = ""
    progress: float = 0.0
    dataset: str = ""
    failure: str = ""
    failure_message: str = ""
    started_at: datetime | None = None
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class KeptDataset:
    """A data set without its rows. Of people who were erased only the number is left."""

    digest: str
    kind: str
    train_rows: int
    validation_rows: int
    test_rows: int
    origins: tuple[str, ...]
    fit: bool
    reasons: tuple[str, ...]
    build_id: str
    subject: str
    documents: tuple[str, ...]
    people: tuple[str, ...]
    created_at: datetime
    erased_people: int = 0
    erased: bool = False
