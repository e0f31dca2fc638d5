"""How a tenant's searches rank: what may be set, and its limits."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from services.common.errors import FailedPrecondition, InvalidArgument, NotFound, Unavailable
from services.retrieve.domain.query import MAX_STEPS

MAX_WEIGHTS = 100
MAX_SOURCE_CHARACTERS = 400
LEAST_WEIGHT, MOST_WEIGHT = 0.01, 100.0
MAX_HALF_LIFE_DAYS = 100_000.0
DEFAULT_STEPS = 3
DEFAULT_DEPTH = 30
MAX_DEPTH = 100

_DIGEST = re.compile(r"[0-9a-f]{64}")


class InvalidTuning(InvalidArgument):
    """A value that nothing can be ranked by."""

    reason = "INVALID_TUNING"


class TuningChanged(FailedPrecondition):
    """The live version is not the one that was expected."""

    reason = "TUNING_CHANGED"


class TuningNotFound(NotFound):
    """The tenant has no such version."""

    reason = "TUNING_NOT_FOUND"


class TuningUnavailable(Unavailable):
    """How the tenant's searches rank cannot be looked up or kept now."""

    reason = "TUNING_UNAVAILABLE"
    retry_seconds = 1.0


@dataclass(frozen=True, slots=True)
class Tuning:
    """How searches rank; `dense_share` None lets each query's evidence decide.

    `source_weights` is by id or name. `reranker` is a digest; "" is the deployment's own.
    """

    source_weights: Mapping[str, float] = field(default_factory=dict)
    recency_half_life_days: float = 0.0
    dense_share: float | None = None
    max_steps: int = DEFAULT_STEPS
    reranker: str = ""
    rerank_depth: int = DEFAULT_DEPTH
    rerank_off: bool = False

    def __post_init__(self) -> None:
        """Check the limits.

        Raises:
            InvalidTuning: a value is beyond them.
        """
        if len(self.source_weights) > MAX_WEIGHTS:
            raise InvalidTuning("too many weights of sources", at_most=MAX_WEIGHTS)
        for source, weight in self.source_weights.items():
            _check(0 < len(source) <= MAX_SOURCE_CHARACTERS and "\0" not in source, "a source that none can be called")
            _check(_within(weight, LEAST_WEIGHT, MOST_WEIGHT), "a source's weight is from .01 to 100")
        _check(_within(self.recency_half_life_days, 0, MAX_HALF_LIFE_DAYS), "the half-life is from 0 to 100000 days")
        _check(self.dense_share is None or _within(self.dense_share, 0, 1), "the dense share is from 0 to 1")
        _check(1 <= self.max_steps <= MAX_STEPS, "max_steps is from 1 to 4")
        _check(1 <= self.rerank_depth <= MAX_DEPTH, "the depth of reranking is from 1 to 100")
        _check(not self.reranker or bool(_DIGEST.fullmatch(self.reranker)), "a reranker is named by its digest")

    @property
    def weighs(self) -> bool:
        """Whether any score is multiplied by anything."""
        return bool(self.source_weights or self.recency_half_life_days)


def _within(value: float, least: float, most: float) -> bool:
    return math.isfinite(value) and least <= value <= most


def _check(fits: bool, message: str) -> None:  # noqa: FBT001 - the condition that is checked
    if not fits:
        raise InvalidTuning(message)


@dataclass(frozen=True, slots=True)
class KeptTuning:
    """A version of a tenant's tuning; version 0, put at no time, is what a tenant has that never put one."""

    version: int
    tuning: Tuning
    put_at: datetime | None


NONE_PUT = KeptTuning(0, Tuning(), None)
