"""What came of a question: passages or an answer, or why neither."""

import re
from dataclasses import dataclass

from services.common.evaluation.questions import Question

EXCERPT_CHARS = 500
_MARKERS = re.compile(r"\s*\[\d+\]")


@dataclass(frozen=True, slots=True)
class Found:
    """A passage as a person is shown it; `also` are the documents in which nearly the same stands."""

    document_id: str
    title: str
    where: str
    text: str
    also: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Cited:
    """A citation: characters [start, end) of the answer, and what supports them."""

    number: int
    document_id: str
    title: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Usage:
    """What an answer took: milliseconds from its arrival at the gateway, tokens, and which adapter, "" for none."""

    first_token_ms: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    model: str = ""
    adapter_digest: str = ""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer as it came; `unsupported` are its spans [start, end) that no passage supports."""

    text: str
    citations: tuple[Cited, ...] = ()
    unsupported: tuple[tuple[int, int], ...] = ()
    supported_share: float = 0.0
    sentences: int = 0
    abstained: bool = False
    usage: Usage = Usage()

    @property
    def words(self) -> str:
        """Return the text without the numbers of its citations."""
        return _MARKERS.sub("", self.text)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one question in `seconds`; with an `error`, a stable reason, nothing did."""

    question: Question
    found: tuple[Found, ...] = ()
    reply: Reply | None = None
    seconds: float = 0.0
    error: str = ""

    @property
    def documents(self) -> tuple[str, ...]:
        """Return the different documents found, best first, each with those of its near duplicates."""
        ids = (document_id for each in self.found for document_id in (each.document_id, *each.also))
        return tuple(dict.fromkeys(ids))
