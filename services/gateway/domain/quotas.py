"""Quotas: how much a tenant or a key may use."""

from dataclasses import asdict, dataclass

from services.common.errors import InvalidArgument


class InvalidQuota(InvalidArgument):
    """A limit is negative, or a key has one that only tenants have."""

    reason = "INVALID_QUOTA"


@dataclass(frozen=True, slots=True)
class Quota:
    """Limits of what is used; 0 is no limit. `documents` and `bytes` are a tenant's only."""

    requests_per_minute: int = 0
    tokens_per_minute: int = 0
    concurrent_streams: int = 0
    documents: int = 0
    bytes: int = 0


UNLIMITED = Quota()


def checked(quota: Quota) -> Quota:
    """Return the quota of a tenant.

    Raises:
        InvalidQuota: a limit is negative.
    """
    if negative := [name for name, limit in asdict(quota).items() if limit < 0]:
        raise InvalidQuota("a limit is negative", field=negative[0])
    return quota


def checked_of_key(quota: Quota) -> Quota:
    """Return the quota of a key.

    Raises:
        InvalidQuota: a limit is negative, or is of what is kept, which belongs to the tenant.
    """
    if quota.documents or quota.bytes:
        raise InvalidQuota("documents and bytes are limited for a tenant, not for a key", field="documents")
    return checked(quota)
