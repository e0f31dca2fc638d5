"""Quotas of keys: what of a tenant's limits a key may have of its own."""

from dataclasses import asdict

from services.common.errors import InvalidArgument
from services.common.quotas import Quotas


class InvalidQuota(InvalidArgument):
    """A limit is negative, or a key has one that only tenants have."""

    reason = "INVALID_QUOTA"


def quotas_of_key(**limits: int) -> Quotas:
    """Return the quotas of a key.

    Raises:
        InvalidQuota: a limit is negative, or is of what is kept, which belongs to the tenant.
    """
    if negative := [name for name, limit in limits.items() if limit < 0]:
        raise InvalidQuota("a limit is negative", field=negative[0])
    quotas = Quotas(**limits)
    if quotas.documents or quotas.bytes:
        raise InvalidQuota("documents and bytes are limited for a tenant, not for a key", field="documents")
    return quotas


def limits_of(quotas: Quotas) -> dict[str, int]:
    """Return the limits by their names."""
    return asdict(quotas)
