"""What the service needs of an engine."""

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import Enum, auto
from typing import NoReturn, Protocol

from services.common.identity import Identity
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
