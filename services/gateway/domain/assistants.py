"""Assistants: named ways of answering, in versions that never change."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from services.common.errors import FailedPrecondition, InvalidArgument, NotFound
from services.common.text import printable

DEFAULT = "default"
DEFAULT_TOP_K = 4
MAX_TOP_K = 100
MAX_SOURCES = 100
MAX_SOURCE_CHARS = 200
MAX_INSTRUCTIONS_CHARS = 8000
MAX_LANGUAGES = 10
MAX_METADATA = 20

_NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")
_LANGUAGE = re.compile(r"[a-z]{2}")

Scalar = str | float | bool


class InvalidAssistant(InvalidArgument):
    """An assistant's settings can never work."""

    reason = "INVALID_ASSISTANT"


class AssistantNotFound(NotFound):
    """The tenant has no assistant of this name."""

    reason = "ASSISTANT_NOT_FOUND"


class AssistantVersionNotFound(NotFound):
    """The assistant has no such version."""

    reason = "ASSISTANT_VERSION_NOT_FOUND"


class AssistantChanged(FailedPrecondition):
    """The assistant has another version than the caller expects."""

    reason = "ASSISTANT_CHANGED"


class CitationPolicy(StrEnum):
    """What becomes of sentences that no passage supports."""

    MARK = "mark"
    REQUIRE = "require"
    OFF = "off"


class AnswerLength(StrEnum):
    """How much an answer says; UNSET is as much as the server thinks best."""

    UNSET = ""
    SHORT = "short"
    MEDIUM = "medium"
    LONG = "long"


@dataclass(frozen=True, slots=True)
class Narrowing:
    """What an assistant reads of its sources: documents that are and hold all of this."""

    kinds: tuple[str, ...] = ()
    authors: tuple[str, ...] = ()
    metadata: tuple[tuple[str, Scalar], ...] = ()
    changed_after: datetime | None = None
    changed_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class Assistant:
    """A named way of answering; empty fields mean what the proto says."""

    name: str
    instructions: str = ""
    sources: tuple[str, ...] = ()
    adapter: str = ""
    top_k: int = 0
    without_retrieval: bool = False
    languages: tuple[str, ...] = ()
    narrowing: Narrowing = Narrowing()
    citation_policy: CitationPolicy = CitationPolicy.MARK
    answer_length: AnswerLength = AnswerLength.UNSET
    without_abstention: bool = False
    version: int = 0
    created_at: datetime | None = None

    def says_as_much_as(self, other: "Assistant") -> bool:
        """Tell whether the two differ in nothing but their version."""
        return replace(self, version=0, created_at=None) == replace(other, version=0, created_at=None)


def checked(assistant: Assistant) -> Assistant:
    """Return the assistant as it is kept.

    Raises:
        InvalidAssistant: some field can never work; the facts name it.
    """
    instructions = printable(assistant.instructions)
    _require(is_name(assistant.name), "name", "a name has 1 to 100 letters, digits, '.', '_' and '-'")
    _require(not assistant.adapter or is_name(assistant.adapter), "adapter", "no adapter has such a name")
    _require(len(instructions) <= MAX_INSTRUCTIONS_CHARS, "instructions", "instructions have at most 8,000 characters")
    _require_named(assistant.sources, "sources")
    _require_languages(assistant.languages)
    _require_narrowing(assistant.narrowing)
    _require(assistant.top_k >= 0, "top_k", "top_k is negative")
    return replace(assistant, instructions=instructions, top_k=min(assistant.top_k, MAX_TOP_K))


def is_name(text: str) -> bool:
    """Tell whether an assistant or an adapter can have this name."""
    return _NAME.fullmatch(text) is not None


def name_of(requested: str) -> str:
    """Return the name that a question means; empty means "default".

    Raises:
        AssistantNotFound: no assistant can have it.
    """
    name = requested or DEFAULT
    if not is_name(name):
        raise AssistantNotFound("no such assistant", assistant=printable(name[:100]))
    return name


def assistant_of(name: str, kept: Assistant | None) -> Assistant:
    """Return the assistant that is kept under `name`; "default" needs none.

    Raises:
        AssistantNotFound: there is none.
    """
    if kept is None and name != DEFAULT:
        raise AssistantNotFound("no such assistant", assistant=name[:100])
    return kept or Assistant(DEFAULT)


def with_default(page: Sequence[Assistant], after: str, limit: int) -> Sequence[Assistant]:
    """Return a page of at most `limit` assistants, by name, in which "default" is not missing."""
    names = [assistant.name for assistant in page]
    # Where the page is full, what comes after its last name belongs to the next one.
    belongs = after < DEFAULT and (len(page) < limit or names[-1] > DEFAULT)
    if DEFAULT in names or not belongs:
        return page
    return sorted((*page, Assistant(DEFAULT)), key=lambda assistant: assistant.name)[:limit]


def check_version(kept: int, expected: int | None) -> None:
    """Check that an assistant has the version that its caller expects; None expects nothing.

    Raises:
        AssistantChanged: it has another.
    """
    if expected is not None and expected != kept:
        raise AssistantChanged("the assistant has changed", version=kept, expected_version=expected)


def _require_languages(languages: Sequence[str]) -> None:
    _require(len(languages) <= MAX_LANGUAGES, "languages", "an assistant answers in at most 10 languages")
    _require(len(set(languages)) == len(languages), "languages", "a language is named twice")
    _require(all(map(_LANGUAGE.fullmatch, languages)), "languages", "a language is an ISO 639-1 code, such as fr")


def _require_narrowing(narrowing: Narrowing) -> None:
    _require_named(narrowing.kinds, "filter.kinds")
    _require_named(narrowing.authors, "filter.authors")
    _require(len(narrowing.metadata) <= MAX_METADATA, "filter.metadata", "metadata has at most 20 keys")
    for key, value in narrowing.metadata:
        sound = _is_named(value) if isinstance(value, str) else math.isfinite(value)
        _require(_is_named(key) and sound, "filter.metadata", "metadata is of short texts, numbers and booleans")


def _require_named(values: Sequence[str], field: str) -> None:
    _require(len(values) <= MAX_SOURCES, field, "at most 100 are named")
    _require(all(map(_is_named, values)), field, "each has 1 to 200 printable characters")


def _is_named(name: str) -> bool:
    return 1 <= len(name) <= MAX_SOURCE_CHARS and name == printable(name)


def _require(holds: object, field: str, message: str) -> None:
    if not holds:
        raise InvalidAssistant(message, field=field)
