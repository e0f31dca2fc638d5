"""What an alias points at: an adapter that is live, and for some conversations a canary."""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AdapterRef:
    """An adapter as an alias uses it; `owner` put it there, and `cleared` says whether everybody may be answered."""

    digest: str
    cleared: bool
    owner: str


@dataclass(frozen=True, slots=True)
class Canary:
    """An adapter that answers `share` (0 to 1) of the conversations."""

    id: str
    share: float
    ref: AdapterRef


@dataclass(frozen=True, slots=True)
class Alias:
    """What an alias points at since `revision`; without `live` the base model answers, `deleted` nobody."""

    tenant_id: str
    name: str
    revision: int
    live: AdapterRef | None = None
    canary: Canary | None = None
    deleted: bool = False

    @property
    def key(self) -> tuple[str, str]:
        """The tenant and the name."""
        return self.tenant_id, self.name

    def refs(self) -> Iterator[AdapterRef]:
        """Give the adapters that it needs, what most depends on first."""
        if self.live:
            yield self.live
        if self.canary:
            yield self.canary.ref
