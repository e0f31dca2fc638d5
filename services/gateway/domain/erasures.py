"""Erasures: the removal of all data of a person or of a tenant, and what it removed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from services.common.errors import InvalidArgument, NotFound

SUBJECT = "system:erasure"


class NotConfirmed(InvalidArgument):
    """The confirmation is not the caller's own tenant."""

    reason = "NOT_CONFIRMED"


class ErasureNotFound(NotFound):
    """The tenant has no such erasure."""

    reason = "ERASURE_NOT_FOUND"


@dataclass(frozen=True, slots=True)
class Erasure:
    """An erasure as it is now; `user_id` and `principals` are empty for the whole tenant."""

    erasure_id: str
    tenant_id: str
    user_id: str
    created_at: datetime
    principals: tuple[str, ...] = ()
    removed: Mapping[str, int] = field(default_factory=dict)
    stale_adapters: tuple[str, ...] = ()
    finished_at: datetime | None = None

    @property
    def is_of_tenant(self) -> bool:
        """Return whether it removes the whole tenant."""
        return not self.user_id


@dataclass(frozen=True, slots=True)
class Removal:
    """What one call removed."""

    removed: Mapping[str, int]
    stale_adapters: tuple[str, ...] = ()
    done: bool = False


def check_confirmation(confirmation: str, tenant_id: str) -> None:
    """Check that a tenant's removal is meant.

    Raises:
        NotConfirmed: it is not.
    """
    if confirmation != tenant_id:
        raise NotConfirmed("confirm with the name of your own tenant")


def added(removed: Mapping[str, int], more: Mapping[str, int]) -> dict[str, int]:
    """Return the sums, by kind; kinds of which there was nothing are left out."""
    sums = {kind: removed.get(kind, 0) + more.get(kind, 0) for kind in removed.keys() | more.keys()}
    return {kind: sums[kind] for kind in sorted(sums) if sums[kind]}
