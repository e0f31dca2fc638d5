"""How much each tenant may use, as the deployment's settings say it, and the refusal of more."""

from enum import StrEnum

from prometheus_client import Counter
from pydantic import ConfigDict, Field, RootModel
from pydantic.dataclasses import dataclass as validated

from services.common.errors import ResourceExhausted

DEFAULT = "default"

REFUSALS = Counter("tandem_quota_refusals_total", "Calls refused because a quota was used up.", ["quota", "scope"])


class Quota(StrEnum):
    """What is counted."""

    REQUESTS = "requests"
    TOKENS = "tokens"
    STREAMS = "streams"
    DOCUMENTS = "documents"
    BYTES = "bytes"


class Scope(StrEnum):
    """Whose use is counted."""

    TENANT = "tenant"
    KEY = "key"


class QuotaExceeded(ResourceExhausted):
    """A quota is used up; `retry_seconds` says when it is worth trying again, where time alone helps."""

    reason = "QUOTA_EXCEEDED"

    def __init__(
        self, quota: Quota, limit: int, retry_seconds: float | None = None, scope: Scope = Scope.TENANT
    ) -> None:
        """Make the refusal; `refuse` counts it too."""
        super().__init__(f"the quota of {quota} is used up", quota=quota, limit=limit, scope=scope)
        self.retry_seconds = retry_seconds
        self.quota = quota
        self.scope = scope


def refused(error: QuotaExceeded) -> QuotaExceeded:
    """Count a refusal, and return it to be raised or noted."""
    REFUSALS.labels(error.quota.value, error.scope.value).inc()
    return error


@validated(frozen=True, slots=True, config=ConfigDict(extra="forbid"))
class Quotas:
    """What one tenant may use; 0 is unlimited."""

    requests_per_minute: int = Field(default=0, ge=0)
    tokens_per_minute: int = Field(default=0, ge=0)
    concurrent_streams: int = Field(default=0, ge=0)
    documents: int = Field(default=0, ge=0)
    bytes: int = Field(default=0, ge=0)


UNLIMITED = Quotas()


class TenantQuotas(RootModel[dict[str, Quotas]]):
    """The quotas of every tenant: its own, or those under "default"; without either, unlimited.

    A tenant's own object stands alone: what it leaves out is unlimited, not the default's.
    """

    model_config = ConfigDict(frozen=True)

    root: dict[str, Quotas] = Field(default_factory=dict)

    def of(self, tenant_id: str) -> Quotas:
        """Return what a tenant may use."""
        return self.root.get(tenant_id) or self.root.get(DEFAULT) or UNLIMITED
