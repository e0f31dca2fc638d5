"""What a build needs of others: rated answers, documents, passages, and what is kept to measure on."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from services.common.identity import Identity
from services.tune.datasets.clean.leakage import Golden
from services.tune.datasets.mine.documents import Document
from services.tune.datasets.rows import RowPassage


@dataclass(frozen=True, slots=True)
class Told:
    """A rating with its answer as the feedback service tells it; `chunks` are of the passages of its prompt.

    `withheld` tells that the caller may not see the answer (any more), or that it was never recorded.
    """

    rating_id: str
    interaction_id: str = ""
    conversation: str = ""
    rater: str = ""
    asker: str = ""
    up: bool = False
    correction: str = ""
    rated_at: str = ""
    asked_at: str = ""
    question: str = ""
    answer: str = ""
    abstained: bool = False
    chunks: tuple[str, ...] = ()
    documents: tuple[str, ...] = ()
    withheld: bool = False


@dataclass(frozen=True, slots=True)
class Passage:
    """A passage as it is now, and the name of its source."""

    chunk_id: str
    passage: RowPassage
    source: str


class RatedInteractions(Protocol):
    """What people thought of answers."""

    def ratings(self, identity: Identity, rated_after: datetime | None) -> AsyncIterator[Told]:
        """Give each rating, but those of evaluations.

        Raises:
            ServiceUnavailable: they cannot be read.
        """
        ...


class ReadableDocuments(Protocol):
    """What an identity may read now.

    Every method raises ServiceUnavailable or PermissionsUnavailable where that cannot be told.
    """

    def documents(self, identity: Identity, sources: Sequence[str], most: int) -> AsyncIterator[Document]:
        """Give at most so many documents, whole, of these sources; no sources are all of them."""
        ...

    async def passages(self, identity: Identity, chunk_ids: Sequence[str]) -> Sequence[Passage]:
        """Return those of the chunks that are there."""
        ...

    async def search(self, identity: Identity, question: str, most: int) -> Sequence[RowPassage]:
        """Return the passages that are found for a question, best first."""
        ...


class KeptQuestions(Protocol):
    """What a tenant measures on."""

    async def golden(self, identity: Identity) -> Sequence[Golden]:
        """Return every question of every kept set.

        Raises:
            StoreUnavailable: they cannot be read.
        """
        ...
