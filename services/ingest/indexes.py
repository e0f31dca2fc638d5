"""What may happen to a tenant's indexes: built beside the live one, turned to, turned back, dropped."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from services.common.index_config import IndexConfig, InvalidIndexConfig
from services.common.indexes import IndexState, Made
from services.ingest.errors import IndexBuildUnderWay, IndexNotKept, IndexNotReady, IndexSame, ModelUnknown


@dataclass(frozen=True, slots=True)
class Owned:
    """A tenant's indexes, and since how many seconds that is so; `live` is None where it never chose.

    `listed` is set when what is to be built is noted down, document by document. `builds` counts them.
    """

    tenant_id: str
    live: Made | None = None
    state: IndexState = IndexState.SETTLED
    other: Made | None = None
    listed: bool = False
    builds: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Deployment:
    """What embed can do: how indexes are made by default, and the tokens that each model reads; 0 is unknown."""

    default: Made
    models: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What shall be otherwise in another index; what is empty or None is as in the live one."""

    model: str = ""
    languages: tuple[str, ...] = ()
    chunk_tokens: int = 0
    overlap_tokens: int | None = None
    strategies: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Counts:
    """Documents that the other index is to hold, is done with, and cannot hold, these by reason."""

    documents: int = 0
    done: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)

    @property
    def failed(self) -> int:
        return sum(self.reasons.values())


def config_of(live: IndexConfig, wanted: Wanted, deployment: Deployment) -> IndexConfig:
    """Return how the other index is to be made.

    Raises:
        ModelUnknown: the deployment does not have the model.
        InvalidIndexConfig: no index can be made like this.
    """
    model = wanted.model or live.model
    if model not in deployment.models:
        raise ModelUnknown("there is no such embedding model", model=model[:100], known=", ".join(deployment.models))
    config = IndexConfig(
        model=model,
        languages=wanted.languages or live.languages,
        chunk_tokens=wanted.chunk_tokens or live.chunk_tokens,
        overlap_tokens=live.overlap_tokens if wanted.overlap_tokens is None else wanted.overlap_tokens,
        strategies={**live.strategies, **wanted.strategies},
    )
    if 0 < deployment.models[model] < config.chunk_tokens:
        raise InvalidIndexConfig("the model reads fewer tokens than a chunk may have", most=deployment.models[model])
    return config


def begun(owned: Owned, live: Made, config: IndexConfig) -> Owned:
    """Return the indexes when another one is wanted; the same where it is there already.

    Raises:
        IndexSame: the live one is made like this.
        IndexBuildUnderWay: there is another one beside the live one.
    """
    if config == live.config:
        raise IndexSame("the live index is made like this")
    if owned.other is None:
        # A key of its own: what is still told of an earlier build of the same is not taken for this one's.
        other = Made(config, f"{config.digest()}-{owned.builds + 1}")
        return Owned(owned.tenant_id, live, IndexState.BUILDING, other, builds=owned.builds + 1)
    if owned.other.config == config and owned.state is not IndexState.DROPPING:
        return owned
    raise IndexBuildUnderWay("another index is beside the live one: drop it first", state=owned.state)


def switched(owned: Owned, failed: int, *, accept_failed: bool) -> Owned:
    """Return the indexes after the switch; the same where it was done.

    Raises:
        IndexNotReady: the other one is not built, or cannot hold every document, which is not accepted.
    """
    if owned.state is IndexState.KEPT:
        return owned
    if owned.state is not IndexState.READY:
        raise IndexNotReady("the other index is not built", state=owned.state)
    if failed and not accept_failed:
        raise IndexNotReady("documents failed in the other index", failed=failed)
    return _swapped(owned, IndexState.KEPT)


def reverted(owned: Owned) -> Owned:
    """Return the indexes after turning back; the same where that was done.

    Raises:
        IndexNotKept: there is none to turn back to.
    """
    if owned.state is IndexState.READY:
        return owned
    if owned.state is not IndexState.KEPT:
        raise IndexNotKept("no earlier index is kept", state=owned.state)
    return _swapped(owned, IndexState.READY)


def dropped(owned: Owned) -> Owned:
    """Return the indexes when the other one is not wanted any more."""
    if owned.other is None or owned.state is IndexState.DROPPING:
        return owned
    return replace(owned, state=IndexState.DROPPING)


def settled(owned: Owned) -> Owned:
    """Return the indexes when the other one is gone."""
    return Owned(owned.tenant_id, owned.live, builds=owned.builds)


def built(owned: Owned) -> Owned:
    """Return the indexes when the other one holds all that it can."""
    return replace(owned, state=IndexState.READY)


def _swapped(owned: Owned, state: IndexState) -> Owned:
    return replace(owned, live=owned.other, other=owned.live, state=state)
