"""Canaries: what is counted of each arm, and the rule that decides."""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from services.tune.domain.registry_errors import InvalidCanary
from services.tune.domain.sequential import Difference, Tally, difference, p_value

MIN_SHARE, MAX_SHARE, DEFAULT_SHARE = 0.01, 0.5, 0.1
# A sentence that no passage supports is one in two, and the answer counts as unsupported.
SUPPORTED_SHARE = 0.5


class Decision(StrEnum):
    """What the rule says of a canary."""

    CONTINUE = "continue"
    PROMOTE = "promote"
    ROLLBACK = "rollback"
    KEEP_OLD = "keep_old"


class CanaryState(StrEnum):
    """How a canary ended, if it has."""

    RUNNING = "running"
    PROMOTED = "promoted"
    ROLLED_BACK = "rolled_back"
    EXPIRED = "expired"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Rule:
    """When a canary ends; what each means stands with CanaryRule in the protos."""

    alpha: float = 0.05
    margin: float = 0.0
    max_error_rise: float = 0.02
    max_ratings_per_rater: int = 5
    min_raters: int = 3
    max_conversations: int = 20_000
    max_days: int = 14
    late_ms: int = 10_000


_BOUNDS: dict[str, tuple[float, float]] = {
    "alpha": (0.0001, 0.2),
    "margin": (-0.5, 0.5),
    "max_error_rise": (0.0, 1.0),
    "max_ratings_per_rater": (1, 1_000),
    "min_raters": (1, 1_000),
    "max_conversations": (10, 10_000_000),
    "max_days": (1, 365),
    "late_ms": (1, 3_600_000),
}


def checked_rule(rule: Rule) -> Rule:
    """Return the rule.

    Raises:
        InvalidCanary: a value is out of its bounds.
    """
    for name, (low, high) in _BOUNDS.items():
        # What is no number is within no bounds.
        if not low <= getattr(rule, name) <= high:
            raise InvalidCanary("a value of the rule is out of its bounds", field=name, low=low, high=high)
    return rule


def checked_share(share: float) -> float:
    """Return a canary's share of conversations, 0 being the default.

    Raises:
        InvalidCanary: it is not 0.01 to 0.5.
    """
    share = share or DEFAULT_SHARE
    if not MIN_SHARE <= share <= MAX_SHARE:
        raise InvalidCanary("a canary's share is 0.01 to 0.5", low=MIN_SHARE, high=MAX_SHARE)
    return share


def person_of(tenant_id: str, subject: str) -> str:
    """Return what stands for a person where it matters only who is the same; "" stands for nobody."""
    return hashlib.sha256(f"{tenant_id}/{subject}".encode()).hexdigest() if subject else ""


@dataclass(frozen=True, slots=True)
class Arm:
    """What became of one arm's conversations; what each means stands with ArmCounts in the protos."""

    conversations: int = 0
    answers: int = 0
    ups: int = 0
    downs: int = 0
    raters: int = 0
    ignored_ratings: int = 0
    failures: int = 0
    late: int = 0
    unsupported: int = 0

    @property
    def rated(self) -> Tally:
        return Tally(self.ups, self.ups + self.downs)

    @property
    def failed(self) -> Tally:
        return Tally(self.failures, self.answers + self.failures)


@dataclass(frozen=True, slots=True)
class Arms:
    """Both arms' counts."""

    canary: Arm = Arm()
    old: Arm = Arm()

    @property
    def conversations(self) -> int:
        return self.canary.conversations + self.old.conversations


@dataclass(frozen=True, slots=True)
class Look:
    """What was known of a canary at a moment, and what the rule made of it; `p_value` is always valid."""

    at: datetime
    decision: Decision
    reason: str
    arms: Arms
    ratings: Difference
    errors: Difference
    p_value: float


@dataclass(frozen=True, slots=True)
class Canary:
    """An adapter that is tried on `share` of an alias's conversations; `against` answers the others."""

    canary_id: str
    alias: str
    digest: str
    against: str
    share: float
    cleared: bool
    rule: Rule
    state: CanaryState
    subject: str
    started_at: datetime
    ended_at: datetime | None = None


def look_at(rule: Rule, arms: Arms, started_at: datetime, now: datetime) -> Look:
    """Return what the rule says of these counts.

    It may be asked as often as one likes: the intervals hold at every look (see domain/sequential.py).
    """
    ratings = difference(arms.canary.rated, arms.old.rated, rule.alpha)
    errors = difference(arms.canary.failed, arms.old.failed, rule.alpha)
    against_chance = p_value(arms.canary.rated, arms.old.rated, rule.margin)
    decision, reason = _decided(rule, arms, ratings, errors)
    if decision is Decision.CONTINUE:
        decision, reason = _in_time(rule, arms, now - started_at, reason)
    return Look(now, decision, reason, arms, ratings, errors, against_chance)


def _decided(rule: Rule, arms: Arms, ratings: Difference, errors: Difference) -> tuple[Decision, str]:
    if errors.low > rule.max_error_rise:
        return Decision.ROLLBACK, f"answers fail more often by {errors.low:.1%} at least"
    if ratings.high < rule.margin:
        return Decision.ROLLBACK, f"good ratings are more by {ratings.high:.1%} at most, below {rule.margin:.1%}"
    if ratings.low <= rule.margin:
        return Decision.CONTINUE, "the ratings do not tell yet"
    if arms.canary.raters < rule.min_raters:
        return Decision.CONTINUE, f"better, but only {arms.canary.raters} of {rule.min_raters} raters say so"
    return Decision.PROMOTE, f"good ratings are more by {ratings.low:.1%} at least"


def _in_time(rule: Rule, arms: Arms, ran: timedelta, reason: str) -> tuple[Decision, str]:
    if arms.conversations >= rule.max_conversations:
        return Decision.KEEP_OLD, f"not found better in {arms.conversations} conversations"
    if ran >= timedelta(days=rule.max_days):
        return Decision.KEEP_OLD, f"not found better in {ran.days} days"
    return Decision.CONTINUE, reason
