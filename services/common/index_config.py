"""What a tenant's index is made with: the model, the languages of its words, and how documents are cut."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any

from pydantic import AfterValidator

from services.common.analysis import STEMMERS
from services.common.errors import InvalidArgument

MIN_CHUNK_TOKENS, MAX_CHUNK_TOKENS = 32, 8192
MAX_LANGUAGES = 8

# Kinds of documents, and what cuts each where nothing else is said.
STRATEGY_OF_KIND: Mapping[str, str] = {
    "text": "text",
    "table": "table",
    "slides": "slides",
    "ticket": "turns",
    "chat": "turns",
    "mail": "mail",
    "code": "code",
}
# What may be chosen for a kind or a source; "fixed" cuts every so many tokens, whatever stands there.
STRATEGIES = frozenset({*STRATEGY_OF_KIND.values(), "fixed"})


class InvalidIndexConfig(InvalidArgument):
    """No index can be made so."""

    reason = "INVALID_INDEX_CONFIG"


@dataclass(frozen=True, slots=True)
class IndexConfig:
    """How an index is made. `strategies` has the kinds whose documents are cut otherwise than by default.

    Languages are ISO 639-1 codes, each once, in no order that matters. Tokens are the model's.
    """

    model: str
    languages: tuple[str, ...]
    chunk_tokens: int
    overlap_tokens: int
    strategies: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check that an index can be made so.

        Raises:
            InvalidIndexConfig: it cannot.
        """
        if not self.model:
            raise InvalidIndexConfig("the model has no name")
        check_languages(self.languages)
        if not MIN_CHUNK_TOKENS <= self.chunk_tokens <= MAX_CHUNK_TOKENS:
            raise InvalidIndexConfig("a chunk's size is out of range", least=MIN_CHUNK_TOKENS, most=MAX_CHUNK_TOKENS)
        if not 0 <= self.overlap_tokens < self.chunk_tokens:
            raise InvalidIndexConfig("chunks overlap by less than their size, and by no less than nothing")
        if not (self.strategies.keys() <= STRATEGY_OF_KIND.keys() and STRATEGIES.issuperset(self.strategies.values())):
            raise InvalidIndexConfig("a kind of document or a strategy is not known", known=", ".join(STRATEGIES))

    def strategy_of(self, kind: str) -> str:
        """Return what cuts documents of a kind."""
        return self.strategies.get(kind) or STRATEGY_OF_KIND[kind]

    def digest(self) -> str:
        """Return 16 hexadecimal digits that tell configurations apart."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:16]

    def to_json(self) -> str:
        """Return the configuration as JSON, the same for equal ones."""
        values = asdict(self) | {"languages": sorted(self.languages), "strategies": dict(self.strategies)}
        return json.dumps(values, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> "IndexConfig":
        """Return the configuration in `text`.

        Raises:
            InvalidIndexConfig: it is none.
        """
        try:
            values: dict[str, Any] = json.loads(text)
            return cls(**values | {"languages": tuple(values["languages"])})
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise InvalidIndexConfig("it is no configuration of an index") from error


def check_languages(languages: tuple[str, ...]) -> None:
    """Raise InvalidIndexConfig unless these are languages that can be stemmed, 1 to 8 and each once."""
    if not 1 <= len(languages) <= MAX_LANGUAGES or len(set(languages)) != len(languages):
        raise InvalidIndexConfig("an index has 1 to 8 languages, each once", most=MAX_LANGUAGES)
    if unknown := set(languages) - STEMMERS.keys():
        raise InvalidIndexConfig("a language is not known", language=min(unknown)[:20], known=", ".join(STEMMERS))


def _known(languages: tuple[str, ...]) -> tuple[str, ...]:
    try:
        check_languages(languages)
    except InvalidIndexConfig as error:
        raise ValueError(str(error)) from error
    return languages


# For a setting: an environment variable holds them as JSON, such as ["en", "fr"].
Languages = Annotated[tuple[str, ...], AfterValidator(_known)]
