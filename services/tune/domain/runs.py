"""Runs, what they make, and what is put into use of it."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from services.common.identity import Identity
from services.common.pages import InvalidPage, key_of, moment_of, token_of
from services.tune.domain.adapter_runs import AdapterTraining
from services.tune.domain.data import Question
from services.tune.domain.limits import check_request

MAX_MESSAGE_CHARS = 500


class RunState(StrEnum):
    """How far a run is."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Stage(StrEnum):
    """What a run does."""

    GATHERING = "gathering"
    PREPARING = "preparing"
    REWARDING = "rewarding"
    TRAINING = "training"
    SCORING = "scoring"
    PUBLISHING = "publishing"
    JUDGING = "judging"


class Origin(StrEnum):
    """Where what a run learns from comes from."""

    TRAINING_SET = "training_set"
    RATINGS = "ratings"
    # Of an adapter.
    DATASET = "dataset"


@dataclass(frozen=True, slots=True)
class Order:
    """What a run shall do, and as whom. `questions` are those of a training set."""

    identity: Identity
    request_id: str
    base: str
    origin: Origin
    seed: int
    questions: tuple[Question, ...] = ()
    rated_after: datetime | None = None

    def __post_init__(self) -> None:
        """Check what can be kept.

        Raises:
            InvalidRun: the request's id or the seed cannot.
        """
        check_request(self.request_id, self.seed)


@dataclass(frozen=True, slots=True)
class GateReport:
    """How a candidate did on questions held out, against what was live; nDCG@10 and differences of it."""

    passed: bool
    trained_queries: int
    tuned_queries: int
    held_out_queries: int
    pairs: int
    live_ndcg: float
    candidate_ndcg: float
    difference_low: float
    difference_high: float
    rerank_weight: float
    depth: int
    live_reranker: str
    data_digest: str


@dataclass(frozen=True, slots=True)
class Run:
    """A run as it is shown; `report` and `reranker` are there once one that trains a reranker has succeeded.

    One that trains an adapter has `training`.
    """

    tenant_id: str
    run_id: str
    state: RunState
    subject: str
    base: str
    origin: Origin
    seed: int
    created_at: datetime
    stage: str = ""
    progress: float = 0.0
    reranker: str = ""
    failure: str = ""
    failure_message: str = ""
    started_at: datetime | None = None
    ended_at: datetime | None = None
    report: GateReport | None = None
    training: AdapterTraining | None = None


@dataclass(frozen=True, slots=True)
class Lineage:
    """What a reranker or an adapter learnt from: documents' ids, and people as principals."""

    documents: tuple[str, ...] = ()
    people: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reranker:
    """What a run has made. Of people who were erased only the number is left."""

    digest: str
    run_id: str
    base: str
    report: GateReport
    lineage: Lineage
    created_at: datetime
    erased_people: int = 0


@dataclass(frozen=True, slots=True)
class Promotion:
    """A change of the reranker in use, "" for none; `undoes` is the promotion that it takes back, if any."""

    promotion_id: str
    reranker: str
    previous: str
    rerank_weight: float
    previous_weight: float
    tuning_version: int
    subject: str
    overridden: bool
    undoes: str
    promoted_at: datetime


@dataclass(frozen=True, slots=True)
class LiveReranker:
    """What a tenant's searches use now, and the version of the tuning that says so."""

    digest: str = ""
    weight: float = 0.0
    version: int = 0


@dataclass(frozen=True, slots=True)
class Position:
    """Where a page of a list, newest first, ends."""

    at: datetime
    object_id: str

    def token(self) -> str:
        """Return the token of the page that begins after it."""
        return token_of(f"{self.at.isoformat()} {self.object_id}")


def position_of(token: str) -> Position | None:
    """Return where the page begins; None for the first.

    Raises:
        InvalidPage: `token` came from no answer.
    """
    if not (key := key_of(token)):
        return None
    moment, _, object_id = key.partition(" ")
    if not object_id:
        raise InvalidPage("the page token is not one of ours")
    return Position(moment_of(moment), object_id)
