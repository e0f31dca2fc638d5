"""What a search asks, cleaned and within limits."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from services.common.errors import InvalidArgument
from services.common.text import printable

MAX_QUERY_CHARACTERS = 8000
DEFAULT_TOP_K = 8
MAX_TOP_K = 100
MAX_STEPS = 4
# Of sources, kinds and authors each.
MAX_NAMES = 100
MAX_METADATA = 20
MAX_FILTER_CHARACTERS = 8000
MAX_CHUNK_IDS = 100
MAX_DOCUMENT_IDS = 20
MAX_CHUNK_ID_CHARACTERS = 64

# What merging neighbours may take away is fetched on top.
HITS_PER_PASSAGE = 3
MIN_HITS = 30
# Of each leg: ranking by both needs more of them than are shown.
MIN_CANDIDATES = 50

# Cleaning costs time by the character, so what is this much too long is refused as it came.
_MAX_RAW_CHARACTERS = 10 * MAX_QUERY_CHARACTERS

Scalar = str | float | bool


class EmptyQuery(InvalidArgument):
    """Nothing is left of the query once control characters are taken out."""

    reason = "EMPTY_QUERY"


class QueryTooLong(InvalidArgument):
    """The query has more than 8,000 characters."""

    reason = "QUERY_TOO_LONG"


class InvalidTopK(InvalidArgument):
    """A negative number of passages is wanted."""

    reason = "INVALID_TOP_K"


class InvalidSteps(InvalidArgument):
    """A negative number of rounds of searches is allowed."""

    reason = "INVALID_STEPS"


class InvalidFilter(InvalidArgument):
    """The filter can match nothing as it was sent."""

    reason = "INVALID_FILTER"


class InvalidDocumentIds(InvalidArgument):
    """None, too many, or one that no document can have."""

    reason = "INVALID_DOCUMENT_IDS"


class InvalidChunkIds(InvalidArgument):
    """No chunk, too many, or an id that no chunk can have."""

    reason = "INVALID_CHUNK_IDS"


@dataclass(frozen=True, slots=True)
class Filter:
    """What a passage must have besides a reader's permission; times are Unix milliseconds."""

    sources: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    authors: tuple[str, ...] = ()
    changed_after_ms: int | None = None
    changed_before_ms: int | None = None
    metadata: Mapping[str, Scalar] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the limits.

        Raises:
            InvalidFilter: one is exceeded, or a value is none that can be compared.
        """
        for names in (self.sources, self.kinds, self.authors):
            if len(names) > MAX_NAMES:
                raise InvalidFilter("too many sources, kinds or authors", at_most=MAX_NAMES)
        if len(self.metadata) > MAX_METADATA:
            raise InvalidFilter("too many metadata fields", at_most=MAX_METADATA)
        for text in (*self.sources, *self.kinds, *self.authors, *self.metadata, *self.metadata.values()):
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
    def enough(self) -> int:
        """How many hits `top_k` passages are made of at most."""
        return max(MIN_HITS, HITS_PER_PASSAGE * self.top_k)

    @property
    def candidate_count(self) -> int:
        """How many chunks to fetch of each leg."""
        return max(MIN_CANDIDATES, self.enough)


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


def steps_of(steps: int) -> int:
    """Return how many rounds of searches a request allows, 0 where the tuning decides; more than 4 is clipped.

    Raises:
        InvalidSteps: it is negative.
    """
    if steps < 0:
        raise InvalidSteps("steps is negative", steps=steps)
    return min(steps, MAX_STEPS)


def document_ids_of(ids: tuple[str, ...]) -> tuple[str, ...]:
    """Return the documents that a request names, each once.

    Raises:
        InvalidDocumentIds: there are none, more than 20, or one that can name nothing.
    """
    if not 0 < len(ids) <= MAX_DOCUMENT_IDS:
        raise InvalidDocumentIds("1 to 20 documents can be read at once", documents=len(ids))
    if any(not 0 < len(one) <= MAX_CHUNK_ID_CHARACTERS or not one.isprintable() for one in ids):
        raise InvalidDocumentIds("an id that no document can have")
    return tuple(dict.fromkeys(ids))


def chunk_ids_of(ids: tuple[str, ...]) -> tuple[str, ...]:
    """Return the chunks that a request names, each once.

    Raises:
        InvalidChunkIds: there are none, more than 100, or one that can name nothing.
    """
    if not 0 < len(ids) <= MAX_CHUNK_IDS:
        raise InvalidChunkIds("1 to 100 chunks can be read at once", chunks=len(ids))
    if any(not 0 < len(one) <= MAX_CHUNK_ID_CHARACTERS or not one.isprintable() for one in ids):
        raise InvalidChunkIds("an id that no chunk can have")
    return tuple(dict.fromkeys(ids))
