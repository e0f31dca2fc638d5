"""How a data set is cleaned and split, and what a build is to do."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from services.common.identity import Identity
from services.tune.datasets.errors import InvalidDatasetBuild
from services.tune.datasets.rows import Kind

DEFAULT_TOKENS, MAX_TOKENS = 2048, 1_000_000
DEFAULT_SHARE, MAX_SHARE = 0.1, 0.5
MAX_LANGUAGES, MAX_NAMES, MAX_NOT_PERSONAL, MAX_SOURCES = 30, 10_000, 1000, 100
MAX_TEXT_CHARS = 200
MAX_REQUEST_ID_CHARS = 64
DEFAULT_DOCUMENTS, MAX_DOCUMENTS = 10_000, 100_000
DEFAULT_UNANSWERABLE_EVERY = 4


class Origin(StrEnum):
    """Where rows come from."""

    RATINGS = "ratings"
    DOCUMENTS = "documents"
    UPLOAD = "upload"


@dataclass(frozen=True, slots=True)
class Parameters:
    """How rows are cleaned and split; `max_tokens` holds prompt and answer together."""

    seed: int = 0
    languages: tuple[str, ...] = ()
    max_tokens: int = DEFAULT_TOKENS
    test_share: float = DEFAULT_SHARE
    validation_share: float = DEFAULT_SHARE
    names: tuple[str, ...] = ()
    not_personal: tuple[str, ...] = ()
    keep_personal_data: bool = False

    def __post_init__(self) -> None:
        """Check the limits.

        Raises:
            InvalidDatasetBuild: one is exceeded.
        """
        if self.seed < 0:
            raise InvalidDatasetBuild("the seed is negative", seed=self.seed)
        if not 0 < self.max_tokens <= MAX_TOKENS:
            raise InvalidDatasetBuild(f"max_tokens is 1 to {MAX_TOKENS}", max_tokens=self.max_tokens)
        for share in (self.test_share, self.validation_share):
            if not 0 < share <= MAX_SHARE:
                raise InvalidDatasetBuild(f"a share is above 0 and at most {MAX_SHARE}", share=share)
        _check_texts("languages", self.languages, MAX_LANGUAGES)
        _check_texts("names", self.names, MAX_NAMES)
        _check_texts("not_personal", self.not_personal, MAX_NOT_PERSONAL)

    def shown(self) -> dict[str, Any]:
        """Return what the card says of them: no names of people."""
        return {
            "seed": self.seed,
            "languages": sorted(self.languages),
            "max_tokens": self.max_tokens,
            "test_share": self.test_share,
            "validation_share": self.validation_share,
            "keep_personal_data": self.keep_personal_data,
        }


@dataclass(frozen=True, slots=True)
class FromDocuments:
    """Which documents are looked at, and for how many questions there is one that they do not answer; 0 is none."""

    sources: tuple[str, ...] = ()
    max_documents: int = DEFAULT_DOCUMENTS
    unanswerable_every: int = DEFAULT_UNANSWERABLE_EVERY

    def __post_init__(self) -> None:
        """Check the limits.

        Raises:
            InvalidDatasetBuild: one is exceeded.
        """
        _check_texts("sources", self.sources, MAX_SOURCES)
        if not 0 < self.max_documents <= MAX_DOCUMENTS:
            raise InvalidDatasetBuild(f"1 to {MAX_DOCUMENTS} documents are looked at", documents=self.max_documents)


@dataclass(frozen=True, slots=True)
class BuildOrder:
    """What a build shall do, and as whom; `upload` is the key of rows that were sent."""

    identity: Identity
    request_id: str
    kind: Kind
    parameters: Parameters
    ratings: bool = False
    rated_after: datetime | None = None
    documents: FromDocuments | None = None
    upload: str = ""

    def __post_init__(self) -> None:
        """Check that something can be built of it.

        Raises:
            InvalidDatasetBuild: nothing can.
        """
        if len(self.request_id) > MAX_REQUEST_ID_CHARS or "\0" in self.request_id:
            raise InvalidDatasetBuild("the request_id is too long", limit=MAX_REQUEST_ID_CHARS)
        if not self.origins:
            raise InvalidDatasetBuild("neither ratings nor documents are to be learnt from")
        if self.documents and self.kind not in {Kind.SFT, Kind.GRPO}:
            raise InvalidDatasetBuild(
                "documents tell right answers only: they teach SFT and GRPO", kind=self.kind.value
            )

    @property
    def origins(self) -> tuple[str, ...]:
        """Return where the rows come from."""
        named = (
            (Origin.RATINGS, self.ratings),
            (Origin.DOCUMENTS, self.documents is not None),
            (Origin.UPLOAD, bool(self.upload)),
        )
        return tuple(origin.value for origin, wanted in named if wanted)


def parameters_of(record: Mapping[str, Any]) -> Parameters:
    """Return parameters from JSON."""
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in record.items()
    }
    return Parameters(**values)


def _check_texts(what: str, texts: tuple[str, ...], at_most: int) -> None:
    if len(texts) > at_most:
        raise InvalidDatasetBuild(f"at most {at_most} {what} can be named", given=len(texts))
    if any(not 0 < len(each) <= MAX_TEXT_CHARS or "\0" in each for each in texts):
        raise InvalidDatasetBuild(f"{what} have 1 to {MAX_TEXT_CHARS} characters each")
