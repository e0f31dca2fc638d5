"""What a search asks, and how the chunks that it hits become passages."""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from services.common.errors import InvalidArgument
from services.common.identity import Identity
from services.common.text import printable

MAX_QUERY_CHARACTERS = 8000
DEFAULT_TOP_K = 8
MAX_TOP_K = 100
MAX_SOURCES = 100
MAX_METADATA = 20
MAX_FILTER_CHARACTERS = 8000

# What merging neighbours may take away is fetched on top.
CANDIDATES_PER_PASSAGE = 3
MIN_CANDIDATES = 30

# Cleaning costs time by the character, so what is this much too long is refused as it came.
_MAX_RAW_CHARACTERS = 10 * MAX_QUERY_CHARACTERS

Scalar = str | float | bool
Vector = npt.NDArray[np.float32]


class EmptyQuery(InvalidArgument):
    """Nothing is left of the query once control characters are taken out."""

    reason = "EMPTY_QUERY"


class QueryTooLong(InvalidArgument):
    """The query has more than 8,000 characters."""

    reason = "QUERY_TOO_LONG"


class InvalidTopK(InvalidArgument):
    """A negative number of passages is wanted."""

    reason = "INVALID_TOP_K"


class InvalidFilter(InvalidArgument):
    """The filter can match nothing as it was sent."""

    reason = "INVALID_FILTER"


@dataclass(frozen=True, slots=True)
class Filter:
    """What a passage must have besides a reader's permission; times are Unix milliseconds."""

    sources: tuple[str, ...] = ()
    changed_after_ms: int | None = None
    changed_before_ms: int | None = None
    metadata: Mapping[str, Scalar] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the limits.

        Raises:
            InvalidFilter: one is exceeded, or a value is none that can be compared.
        """
        if len(self.sources) > MAX_SOURCES:
            raise InvalidFilter("too many sources", at_most=MAX_SOURCES)
        if len(self.metadata) > MAX_METADATA:
            raise InvalidFilter("too many metadata fields", at_most=MAX_METADATA)
        for text in (*self.sources, *self.metadata, *self.metadata.values()):
            _check_comparable(text)
        if "" in self.metadata:
            raise InvalidFilter("a metadata field has no name")


def _check_comparable(value: Scalar) -> None:
    if isinstance(value, str):
        if len(value) > MAX_FILTER_CHARACTERS:
            raise InvalidFilter("a filter's text is too long", at_most=MAX_FILTER_CHARACTERS)
        # Milvus cannot write them in a filter, so they would silently match nothing.
        if any(character < " " for character in value):
            raise InvalidFilter("a filter's text has control characters")
    elif not math.isfinite(value):
        raise InvalidFilter("a filter's number is not finite")


@dataclass(frozen=True, slots=True)
class Query:
    """A question, cleaned and within limits."""

    text: str
    top_k: int
    filter: Filter

    @property
    def candidate_count(self) -> int:
        """How many chunks to fetch so that `top_k` passages remain."""
        return max(MIN_CANDIDATES, CANDIDATES_PER_PASSAGE * self.top_k)


def query_of(text: str, top_k: int, wanted: Filter) -> Query:
    """Return the query that a request asks; `top_k` 0 means 8, more than 100 is clipped.

    Raises:
        EmptyQuery, QueryTooLong, InvalidTopK: it can never be answered.
    """
    if top_k < 0:
        raise InvalidTopK("top_k is negative", top_k=top_k)
    cleaned = printable(text) if len(text) <= _MAX_RAW_CHARACTERS else text
    if not cleaned:
        raise EmptyQuery("the query is empty")
    if len(cleaned) > MAX_QUERY_CHARACTERS:
        raise QueryTooLong("the query is too long", characters=len(cleaned), at_most=MAX_QUERY_CHARACTERS)
    return Query(cleaned, min(top_k or DEFAULT_TOP_K, MAX_TOP_K), wanted)


@dataclass(frozen=True, slots=True)
class Embedded:
    """A text as a unit vector, and the model that made it."""

    vector: Vector
    model: str


@dataclass(frozen=True, slots=True, eq=False)
class Search:
    """What an index is asked: for whom, with the sets of readers that they are in, like what, and of which stems.

    `index_key` is that of the index to search, "" where the tenant never chose one.
    """

    identity: Identity
    sets: tuple[str, ...]
    query: Query
    embedded: Embedded
    stems: tuple[str, ...] = ()
    index_key: str = ""

    @property
    def config(self) -> str:
        """What the collection to search is called by; see index.collection_of."""
        return self.index_key or self.embedded.model

    @property
    def principals(self) -> tuple[str, ...]:
        """Everything that the index may know a reader as."""
        return (*self.identity.principals, *self.sets)


@dataclass(frozen=True, slots=True)
class Hit:
    """A chunk that was found; offsets are characters of the document's parsed text."""

    chunk_id: str
    document_id: str
    version: int
    source_id: str
    source_name: str
    title: str
    uri: str
    headings: tuple[str, ...]
    text: str
    ordinal: int
    start_offset: int
    end_offset: int
    page: int
    changed_at_ms: int
    metadata: Mapping[str, object]
    suspicions: tuple[str, ...]
    score: float
    language: str = ""
    kind: str = "text"
    author: str = ""
    section_first: int = 0
    section_last: int = 0


@dataclass(frozen=True, slots=True)
class Found:
    """An index's answer: the hits, best first, and what was searched ("" where there is nothing yet)."""

    index_version: str
    hits: Sequence[Hit]


@dataclass(frozen=True, slots=True)
class Passage:
    """Neighbouring hits as one text, from the first's start to `end_offset`."""

    first: Hit
    best: Hit
    text: str
    end_offset: int
    suspicions: tuple[str, ...]


def passages_of(hits: Sequence[Hit], top_k: int) -> list[Passage]:
    """Return at most `top_k` passages, best first, from `hits`, best first.

    Only hits that are needed for `top_k` passages are used, so that a worse hit never
    makes a passage longer. Of a document found in two versions the newer is kept.
    """
    current = _newest_versions(hits)
    taken = top_k
    while True:
        passages = _merged(current[:taken])
        # Each further hit makes at most one more passage, so this never gives too many.
        missing = top_k - len(passages)
        if missing == 0 or taken >= len(current):
            return passages
        taken += missing


def _newest_versions(hits: Sequence[Hit]) -> list[Hit]:
    newest: dict[str, int] = {}
    for hit in hits:
        newest[hit.document_id] = max(hit.version, newest.get(hit.document_id, hit.version))
    return [hit for hit in hits if hit.version == newest[hit.document_id]]


def _merged(hits: Sequence[Hit]) -> list[Passage]:
    documents: defaultdict[str, list[Hit]] = defaultdict(list)
    for hit in hits:
        documents[hit.document_id].append(hit)
    passages = [passage for chunks in documents.values() for passage in _runs(chunks)]
    return sorted(passages, key=lambda passage: -passage.best.score)


def _runs(hits: list[Hit]) -> Iterator[Passage]:
    """Yield the passages of one document's hits."""
    in_order = sorted(hits, key=lambda hit: (hit.start_offset, hit.ordinal))
    previous = in_order[0]
    passage = _begun(previous)
    for hit in in_order[1:]:
        if hit.ordinal == previous.ordinal + 1 or hit.start_offset < passage.end_offset:
            passage = _extended(passage, hit)
        else:
            yield passage
            passage = _begun(hit)
        previous = hit
    yield passage


def _begun(hit: Hit) -> Passage:
    return Passage(hit, hit, hit.text, hit.end_offset, hit.suspicions)


def _extended(passage: Passage, hit: Hit) -> Passage:
    best = max(passage.best, hit, key=lambda one: one.score)
    end_offset = max(passage.end_offset, hit.end_offset)
    suspicions = tuple(dict.fromkeys((*passage.suspicions, *hit.suspicions)))
    return Passage(passage.first, best, _joined(passage, hit), end_offset, suspicions)


def _joined(passage: Passage, hit: Hit) -> str:
    # A chunk's text ends with the document's characters; a part of a table has its header before them.
    own = hit.text[-(hit.end_offset - hit.start_offset) :]
    overlap = passage.end_offset - hit.start_offset
    # What parts two chunks is blank: at most a paragraph's end is put back.
    return passage.text + "\n" * min(-overlap, 2) + own[max(overlap, 0) :]
