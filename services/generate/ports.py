"""What the service needs of an engine, of a tokenizer, and of what others keep."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import Enum, auto
from typing import NoReturn, Protocol

from services.common.identity import Identity
from services.common.lora.card import Probe
from services.common.lora.checks import Adapter
from services.generate.domain.aliases import Alias
from services.generate.domain.sampling import Sampling


class FinishReason(Enum):
    """Why an answer ended."""

    STOP = auto()
    LENGTH = auto()


@dataclass(frozen=True, slots=True)
class EngineAdapter:
    """An adapter's weights in the engine; neither name nor id is ever used for other weights."""

    id: int
    name: str
    folder: str


@dataclass(frozen=True, slots=True)
class Job:
    """One answer to write. Prompts share cached state only under the same `cache_salt`."""

    id: str
    token_ids: list[int]
    sampling: Sampling
    cache_salt: str
    adapter: EngineAdapter | None = None


@dataclass(frozen=True, slots=True)
class ScoreJob:
    """A completion to score after a prompt; otherwise as a Job."""

    id: str
    token_ids: Sequence[int]
    completion_ids: Sequence[int]
    cache_salt: str
    adapter: EngineAdapter | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """What the engine has written since the last step; `reason` is set on the last."""

    text: str
    tokens: int
    reason: FinishReason | None = None
    cached_tokens: int = 0


class Engine(Protocol):
    """Writes answers to many jobs at once."""

    def answering(self, job: Job) -> AbstractAsyncContextManager[AsyncIterator[Step]]:
        """Enter to hand the job to the engine, and leave to stop it wherever it is.

        Raises:
            EngineDead: the engine has stopped.
        """

    async def score(self, job: ScoreJob) -> list[float]:
        """Return the natural logarithm of each completion token's probability; nothing cached is used for it.

        Raises:
            InvalidCompletions: the tokens are none of the model's, or too many.
            EngineDead: the engine has stopped.
        """

    async def load(self, adapter: EngineAdapter) -> None:
        """Take an adapter in.

        Raises:
            InvalidAdapter: the engine refuses it.
            EngineDead: the engine has stopped.
        """

    async def unload(self, adapter_id: int) -> None:
        """Forget an adapter; one that is not there is no error."""

    async def adapters(self) -> set[int]:
        """Return the ids of the adapters in the engine."""

    async def forget_prompts(self) -> None:
        """Empty what is cached of prompts for later; answers that are being written go on."""

    def running(self) -> int:
        """Return how many jobs the engine has."""

    async def ping(self) -> None:
        """Raise EngineDead unless the engine answers."""

    async def until_dead(self) -> NoReturn:
        """Wait until the engine stops by itself, and raise EngineDead."""


class Completing(Protocol):
    """How the model's vocabulary writes an answer."""

    def encode(self, text: str) -> Sequence[int]:
        """Return the tokens of `text`."""

    def ending(self) -> Sequence[int]:
        """Return what ends an answer; nothing where the vocabulary has no such token."""


@dataclass(frozen=True, slots=True)
class Registered:
    """An adapter of the registry in a local folder, verified and checked; `probe` is None where none was recorded."""

    adapter: Adapter
    probe: Probe | None


class Readiness(Enum):
    """What has become of an adapter that an alias points at."""

    READY = auto()
    FAILED = auto()
    UNLOADED = auto()


@dataclass(frozen=True, slots=True)
class Report:
    """What this replica has made of an adapter; `reason` says why it failed, `load_seconds` 0 that it was there."""

    alias: Alias
    digest: str
    readiness: Readiness
    reason: str = ""
    load_seconds: float = 0.0


class Reports(Protocol):
    """Tells the registry how far this replica is; none of it waits or fails."""

    def say(self, report: Report) -> None:
        """Tell it, and again from time to time while it is true."""

    def wanted(self, alias: Alias) -> None:
        """Say nothing more of what the alias was before."""

    def unloaded(self, tenant_id: str, digest: str) -> None:
        """Tell that an adapter has left the engine."""


class Readership(Protocol):
    """Who may read which documents now. Every method raises PermissionsUnavailable when it cannot be told."""

    async def readable(self, identity: Identity, document_ids: Collection[str]) -> Mapping[str, bool]:
        """Return those of the documents that `identity` may read, each with whether everybody in the tenant may."""

    async def existing(self, identity: Identity, document_ids: Collection[str]) -> set[str]:
        """Return those of the documents that are there, whoever may read them."""


class ErasedPeople(Protocol):
    """Remembers who of a tenant was erased. Every method raises StoreUnavailable when it cannot."""

    async def add(self, identity: Identity, principals: Collection[str]) -> None:
        """Remember that the person of these principals was erased."""

    async def among(self, identity: Identity, principals: Collection[str]) -> set[str]:
        """Return those of `principals` that were erased."""

    async def forget(self, identity: Identity) -> None:
        """Forget the whole tenant's."""
