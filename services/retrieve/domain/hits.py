"""What an index is asked, and the chunks that it finds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from services.common import index
from services.common.identity import Identity
from services.retrieve.domain.query import Query

Vector = npt.NDArray[np.float32]

# Of one document that is read whole.
MOST_CHUNKS = 1000


@dataclass(frozen=True, slots=True)
class Embedded:
    """A text as a unit vector, and the model that made it."""

    vector: Vector
    model: str


@dataclass(frozen=True, slots=True)
class Chosen:
    """An index of the tenant's: its model, its key, the languages of its words; empty where it is the deployment's."""

    model: str = ""
    key: str = ""
    languages: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reader:
    """Who reads, the sets of readers that they are in, and which index they read."""

    identity: Identity
    sets: tuple[str, ...]
    chosen: Chosen = Chosen()

    @property
    def principals(self) -> tuple[str, ...]:
        """Everything that the index may know a reader as."""
        return (*self.identity.principals, *self.sets)

    def collection_of(self, model: str) -> str:
        """Return the collection that they read; `model` is the one that the query was embedded with."""
        return index.collection_of(self.identity.tenant_id, self.chosen.key or model)


@dataclass(frozen=True, slots=True, eq=False)
class Search:
    """What an index is asked: for whom, and like what; `stems` are the query's words as the index has them."""

    reader: Reader
    query: Query
    embedded: Embedded
    stems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Hit:
    """A chunk that was found; offsets are characters of the document's parsed text.

    `similarity` (cosine) and `bm25` are None where that leg did not find it. The section is the chunks
    from ordinal `section_first` to `section_last`. `score` is 0 to 1, times `weight`.
    """

    chunk_id: str
    document_id: str
    version: int
    source_id: str
    source_name: str
    title: str
    uri: str
    headings: tuple[str, ...]
    text: str
    words: str
    language: str
    kind: str
    author: str
    ordinal: int
    section_first: int
    section_last: int
    start_offset: int
    end_offset: int
    page: int
    changed_at_ms: int
    metadata: Mapping[str, object]
    suspicions: tuple[str, ...]
    similarity: float | None = None
    bm25: float | None = None
    words_share: float = 0.0
    weight: float = 1.0
    score: float = 0.0
    rerank_score: float | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """An index's answer: what either leg hit, in no order, and what was searched ("" where there is nothing yet)."""

    index_version: str
    hits: Sequence[Hit]


@dataclass(frozen=True, slots=True)
class Section:
    """A run of one document's chunks, by their ordinals."""

    document_id: str
    version: int
    first: int
    last: int
