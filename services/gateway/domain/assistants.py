"""Assistants: named ways of answering."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from services.common.errors import InvalidArgument, NotFound
from services.common.text import printable

DEFAULT = "default"
DEFAULT_TOP_K = 4
MAX_TOP_K = 100
MAX_SOURCES = 100
MAX_SOURCE_CHARS = 200
MAX_INSTRUCTIONS_CHARS = 8000

_NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")


class InvalidAssistant(InvalidArgument):
    """An assistant's settings can never work."""

    reason = "INVALID_ASSISTANT"


class AssistantNotFound(NotFound):
    """The tenant has no assistant of this name."""

    reason = "ASSISTANT_NOT_FOUND"


@dataclass(frozen=True, slots=True)
class Assistant:
    """A named way of answering; empty fields mean what the proto says."""

    name: str
    instructions: str = ""
    sources: tuple[str, ...] = ()
    adapter: str = ""
    top_k: int = 0
    without_retrieval: bool = False


def checked(assistant: Assistant) -> Assistant:
    """Return the assistant as it is kept.

    Raises:
        InvalidAssistant: some field can never work; the facts name it.
    """
    instructions = printable(assistant.instructions)
    _require(_NAME.fullmatch(assistant.name), "name", "a name has 1 to 100 letters, digits, '.', '_' and '-'")
    _require(not assistant.adapter or _NAME.fullmatch(assistant.adapter), "adapter", "no adapter has such a name")
    _require(len(instructions) <= MAX_INSTRUCTIONS_CHARS, "instructions", "instructions have at most 8,000 characters")
    _require(len(assistant.sources) <= MAX_SOURCES, "sources", "an assistant reads at most 100 named sources")
    _require(all(map(_is_source, assistant.sources)), "sources", "a source has 1 to 200 printable characters")
    _require(assistant.top_k >= 0, "top_k", "top_k is negative")
    return replace(assistant, instructions=instructions, top_k=min(assistant.top_k, MAX_TOP_K))


def name_of(requested: str) -> str:
    """Return the name that a question means; empty means "default".

    Raises:
        AssistantNotFound: no assistant can have it.
    """
    name = requested or DEFAULT
    if not _NAME.fullmatch(name):
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


def _is_source(source: str) -> bool:
    return 1 <= len(source) <= MAX_SOURCE_CHARS and source == printable(source)


def _require(holds: object, field: str, message: str) -> None:
    if not holds:
        raise InvalidAssistant(message, field=field)
