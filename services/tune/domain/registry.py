"""The registry's values: aliases, their moves, and what replicas report of adapters."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from services.tune.domain.adapters import RegisteredAdapter
from services.tune.domain.canaries import Canary
from services.tune.domain.registry_errors import InvalidReason

MAX_ALIASES = 100
MAX_REASON_CHARS = 500
# A replica says every half minute what it has.
SILENT_AFTER = timedelta(minutes=2)
# Who decides where nobody does.
CANARY_SUBJECT = "canary"


class MoveAction(StrEnum):
    """What was done to an alias."""

    PROMOTED = "promoted"
    ROLLED_BACK = "rolled_back"
    CANARY_STARTED = "canary_started"
    CANARY_PROMOTED = "canary_promoted"
    CANARY_ROLLED_BACK = "canary_rolled_back"
    CANARY_EXPIRED = "canary_expired"
    CANARY_STOPPED = "canary_stopped"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class Target:
    """What an alias points at: a digest, or "" for the base model; `owner` is who put it there."""

    digest: str = ""
    cleared: bool = False
    owner: str = ""


@dataclass(frozen=True, slots=True)
class Alias:
    """An alias as it is now. `revision` is 0 where it was never there."""

    tenant_id: str
    alias: str
    live: Target
    revision: int
    subject: str
    changed_at: datetime
    canary: Canary | None = None
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """Who changes an alias and why; `expected` is the revision that it must be at, None for whichever.

    `undoes` is the revision that a rollback takes back, 0 for none.
    """

    subject: str
    reason: str = ""
    expected: int | None = None
    overridden: bool = False
    undoes: int = 0


@dataclass(frozen=True, slots=True)
class Move:
    """One change of an alias, as its history has it."""

    revision: int
    action: MoveAction
    live: Target
    previous: Target
    canary_id: str
    canary_digest: str
    subject: str
    overridden: bool
    reason: str
    undoes: int
    moved_at: datetime


@dataclass(frozen=True, slots=True)
class KeptAdapter:
    """An adapter in the registry, how many erased people it learnt from, and the aliases that use it now."""

    adapter: RegisteredAdapter
    erased_people: int = 0
    aliases: tuple[str, ...] = ()


class Readiness(StrEnum):
    """What has become of an adapter on a replica."""

    READY = "ready"
    FAILED = "failed"
    UNLOADED = "unloaded"


@dataclass(frozen=True, slots=True)
class ReplicaReport:
    """What a replica of generate said last of an adapter."""

    tenant_id: str
    alias: str
    digest: str
    replica_id: str
    readiness: Readiness
    reason: str
    load_ms: int
    reported_at: datetime

    def is_silent(self, now: datetime) -> bool:
        """Tell whether it should have been heard of again by now."""
        return now - self.reported_at > SILENT_AFTER


def checked_reason(reason: str, *, override: bool) -> str:
    """Return why something is done.

    Raises:
        InvalidReason: it is too long, or missing where the gate is overruled.
    """
    if len(reason) > MAX_REASON_CHARS or "\0" in reason:
        raise InvalidReason("a reason has at most 500 characters", limit=MAX_REASON_CHARS)
    if override and not reason.strip():
        raise InvalidReason("who overrules the gate says why")
    return reason
