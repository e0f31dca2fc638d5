"""What the service needs of an engine."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import Enum, auto
from typing import NoReturn, Protocol

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

    def running(self) -> int:
        """Return how many jobs the engine has."""

    async def ping(self) -> None:
        """Raise EngineDead unless the engine answers."""

    async def until_dead(self) -> NoReturn:
        """Wait until the engine stops by itself, and raise EngineDead."""
