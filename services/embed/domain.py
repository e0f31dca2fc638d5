"""What `embed` speaks of: changes of documents, the passages made from them, and what became of each."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from services.common.index import chunk_id_of

Vector = NDArray[np.float32]

# What of the metadata decides how a document is cut, and what is kept with each chunk.
_READ_WITH = ("author", "kind", "language")


@dataclass(frozen=True, slots=True)
class Chunking:
    """How a source wants its documents cut; "", 0 and None leave it to their kind and the index."""

    strategy: str = ""
    chunk_tokens: int = 0
    overlap_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """A document's whole state after a change; times are Unix milliseconds.

    `content_digest` is also of what decides how the content is read and cut: see `digest_of`.
    """

    tenant_id: str
    document_id: str
    version: int
    deleted: bool = False
    source_id: str = ""
    source_name: str = ""
    blob_key: str = ""
    content_digest: str = ""
    size_bytes: int = 0
    media_type: str = ""
    external_id: str = ""
    title: str = ""
    uri: str = ""
    readers: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    changed_at: int = 0
    chunking: Chunking = Chunking()

    @property
    def key(self) -> tuple[str, str]:
        """What tells documents apart."""
        return self.tenant_id, self.document_id


@dataclass(frozen=True, slots=True)
class Page:
    """A page, slide or sheet: its 1-based number, and the first character of its text."""

    number: int
    start: int


@dataclass(frozen=True, slots=True)
class ParsedDocument:
    """Markdown-like text; `pages` is empty where the format has none, `kind` where it tells nothing of the kind."""

    text: str
    title: str = ""
    pages: tuple[Page, ...] = ()
    kind: str = ""
    author: str = ""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a parsed document.

    `text` ends with the document's characters [start, end). It is exactly those, but where a
    table had to be split: then the table's header lines, which lie before `start`, come first.
    `suspicions` name why it looks as if it would give a model orders. `section_first` and
    `section_last` are the ordinals of the first and last chunk of its section: a page's or a
    slide's, a sheet's, what stands under one heading, or a thread.
    """

    text: str
    start: int
    end: int
    headings: tuple[str, ...]
    page: int
    embedded_text: str
    tokens: int
    suspicions: tuple[str, ...] = ()
    section_first: int = 0
    section_last: int = 0
    language: str = ""
    kind: str = "text"
    author: str = ""


@dataclass(frozen=True, slots=True)
class Passage:
    """A row of the index."""

    id: str
    change: Change
    chunk: Chunk
    ordinal: int
    vector: Vector


@dataclass(frozen=True, slots=True)
class StoredPassage:
    """What must be known of a row that is in the index already."""

    id: str
    document_id: str
    version: int
    ordinal: int
    content_digest: str
    is_suspicious: bool = False


@dataclass(frozen=True, slots=True)
class Indexed:
    """The version is searchable; `embedded_count` of its chunks were new, `suspicious_count` look like orders."""

    version: int
    chunk_count: int
    embedded_count: int = 0
    suspicious_count: int = 0


@dataclass(frozen=True, slots=True)
class Deleted:
    """Nothing of the document is left."""

    version: int


@dataclass(frozen=True, slots=True)
class Failed:
    """The version cannot be indexed, whatever is tried."""

    version: int
    reason: str
    message: str


Outcome = Indexed | Deleted | Failed


@dataclass(frozen=True, slots=True)
class Beside:
    """What became of a change in the index beside the live one, which has that key."""

    key: str
    outcome: Indexed | Failed


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a change: in the live index, None where a newer one is on its way; and in the other, if any."""

    outcome: Outcome | None
    beside: Beside | None = None


class DocumentRejected(Exception):
    """The document can never be indexed as it is; the message holds no text of it."""

    reason: ClassVar[str] = "DOCUMENT_REJECTED"


class EncryptedDocument(DocumentRejected):
    """It opens only with a password."""

    reason = "ENCRYPTED_DOCUMENT"


class MalformedDocument(DocumentRejected):
    """It is broken, or not what it says it is."""

    reason = "MALFORMED_DOCUMENT"


class EmptyDocument(DocumentRejected):
    """There is no text in it."""

    reason = "EMPTY_DOCUMENT"


class DocumentTooLarge(DocumentRejected):
    """Its size is over the limit."""

    reason = "DOCUMENT_TOO_LARGE"


class ZipBomb(DocumentRejected):
    """It would inflate to more than is allowed."""

    reason = "ZIP_BOMB"


class ParseTimeout(DocumentRejected):
    """Parsing took too long."""

    reason = "PARSE_TIMEOUT"


class UnsupportedFormat(DocumentRejected):
    """No parser knows it."""

    reason = "UNSUPPORTED_FORMAT"


class ParserCrashed(DocumentRejected):
    """The parser died on it, or needed too much memory."""

    reason = "PARSER_CRASHED"


class InvalidVector(DocumentRejected):
    """The model gave no direction for a text of it."""

    reason = "INVALID_VECTOR"


class ContentMissing(DocumentRejected):
    """Its content is not in the blob store."""

    reason = "BLOB_MISSING"


class InvalidRecord(DocumentRejected):
    """What is said about the document does not fit the index."""

    reason = "INVALID_RECORD"


def rejection_of(change: Change, error: DocumentRejected) -> Failed:
    """Return the outcome that `error` means for `change`."""
    return Failed(change.version, error.reason, str(error))


def digest_of(content_digest: str, metadata: Mapping[str, Any], chunking: Chunking) -> str:
    """Return a digest that changes when the content does, or how it is to be read and cut.

    For most documents that is the content's own.
    """
    facts = {name: metadata[name] for name in _READ_WITH if isinstance(metadata.get(name), str)}
    if not content_digest or (not facts and chunking == Chunking()):
        return content_digest
    return hashlib.sha256(f"{content_digest}\0{sorted(facts.items())}\0{chunking}".encode()).hexdigest()


def ids_of(change: Change, chunks: Sequence[Chunk]) -> Iterator[str]:
    """Yield the ids of a document's chunks: the same text at the same count has the same key in every version."""
    seen: dict[str, int] = {}
    for chunk in chunks:
        occurrence = seen[chunk.embedded_text] = seen.get(chunk.embedded_text, -1) + 1
        parts = (change.tenant_id, change.document_id, chunk.embedded_text, str(occurrence))
        yield chunk_id_of(hashlib.sha256("\0".join(parts).encode()).hexdigest(), change.version)


def newest(changes: Sequence[Change]) -> list[Change]:
    """Return the newest change of each document, in the order in which the documents first came."""
    kept: dict[tuple[str, str], Change] = {}
    for change in changes:
        known = kept.get(change.key)
        if known is None or change.version >= known.version:
            kept[change.key] = change
    return list(kept.values())


def is_complete(stored: Sequence[StoredPassage], version: int) -> bool:
    """Return whether `stored` is all of `version` and nothing else.

    The row with ordinal 0 is written after all others of its document, so it tells.
    """
    return any(row.ordinal == 0 for row in stored) and all(row.version == version for row in stored)
