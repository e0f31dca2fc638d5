"""Sources, the manifest's rows, and the rules by which a row moves from one state to the next."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from services.common.identity import EVERYONE

FILES = "files"
PUSH = "push"

DOCUMENT_TOO_LARGE = "DOCUMENT_TOO_LARGE"
EMPTY_DOCUMENT = "EMPTY_DOCUMENT"
QUOTA_EXCEEDED = "QUOTA_EXCEEDED"
UNREADABLE = "UNREADABLE"

# What the index keeps beside each chunk; a larger set of readers is kept beside the manifest.
MAX_INLINE_READERS = 1000


class SourceState(StrEnum):
    """What a source is doing."""

    ACTIVE = "active"
    PAUSED = "paused"
    DELETING = "deleting"


class DocumentState(StrEnum):
    """How far a document's newest version has come."""

    PENDING = "pending"
    INDEXED = "indexed"
    FAILED = "failed"
    DELETING = "deleting"


@dataclass(frozen=True, slots=True)
class FilesConfig:
    """A folder, or one file, on the host; globs are written as in a .gitignore."""

    path: str
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    watch: bool = False


@dataclass(frozen=True, slots=True)
class Chunking:
    """How a source's documents are cut; "", 0 and None leave it to their kind and the index."""

    strategy: str = ""
    chunk_tokens: int = 0
    overlap_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """A place that documents come from; `config` is None where an application pushes them.

    `root` tells one folder from another that lies at the same path later. `owner` is who made it:
    where nobody is named as a reader, nobody else may read it.
    """

    source_id: str
    tenant_id: str
    name: str
    kind: str
    readers: tuple[str, ...]
    created_at: datetime
    config: FilesConfig | None = None
    state: SourceState = SourceState.ACTIVE
    sync_wanted: bool = False
    last_sync_at: datetime | None = None
    last_sync_error: str = ""
    root: str = ""
    owner: str = ""
    chunking: Chunking = Chunking()


@dataclass(frozen=True, slots=True)
class Counts:
    """A source's documents by state, and the chunks of those indexed."""

    pending: int = 0
    indexed: int = 0
    failed: int = 0
    deleting: int = 0
    chunks: int = 0
    suspicious_chunks: int = 0


@dataclass(frozen=True, slots=True)
class Usage:
    """What documents take up."""

    documents: int = 0
    bytes: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(self.documents + other.documents, self.bytes + other.bytes)

    def __sub__(self, other: "Usage") -> "Usage":
        return Usage(self.documents - other.documents, self.bytes - other.bytes)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a document is not in the index: a stable constant, and words for people."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Draft:
    """A document as its source has it now. Without a digest, `failure` says why.

    `follows_source` is set where it has no readers of its own. `blob_generation` is that of the
    content when it was put, see adapters/blobs.py.
    """

    external_id: str
    title: str
    uri: str
    media_type: str
    size_bytes: int
    changed_at: datetime
    readers: tuple[str, ...]
    metadata: Mapping[str, object] = field(default_factory=dict)
    fingerprint: str = ""
    blob_key: str = ""
    content_digest: str = ""
    failure: Failure | None = None
    owner: str = ""
    follows_source: bool = False
    blob_generation: int = 0


@dataclass(frozen=True, slots=True)
class Document:
    """A row of the manifest.

    `awaiting` is set while the index owes an answer about `version`; `publications` counts
    how often that version was given to the log, last at `published_at`. `narrowed_at` is since
    when the index owes that somebody may read it no more; `former_blobs` are earlier contents
    that the index may still read.
    """

    document_id: str
    tenant_id: str
    source_id: str
    draft: Draft
    version: int
    state: DocumentState
    recorded_at: datetime
    awaiting: bool = False
    chunk_count: int = 0
    published_at: datetime | None = None
    publications: int = 0
    indexed_at: datetime | None = None
    narrowed_at: datetime | None = None
    suspicious_chunk_count: int = 0
    former_blobs: tuple[str, ...] = ()

    @property
    def withdrawn(self) -> bool:
        """Whether the index may keep nothing of the document."""
        return self.state in {DocumentState.DELETING, DocumentState.FAILED}

    @property
    def contents(self) -> frozenset[str]:
        """The keys of the contents that the row needs."""
        return frozenset((self.draft.blob_key, *self.former_blobs)) - {""}


def usage_of(row: Document | None) -> Usage:
    """Return what a row takes up; what is refused or being deleted takes nothing."""
    if row is None or row.state is DocumentState.DELETING or not row.draft.content_digest:
        return Usage()
    return Usage(1, row.draft.size_bytes)


@dataclass(frozen=True, slots=True)
class Indexed:
    """The index holds the version."""

    chunk_count: int
    suspicious_count: int = 0


@dataclass(frozen=True, slots=True)
class Removed:
    """The index holds nothing of the document."""


Answer = Indexed | Removed | Failure


@dataclass(frozen=True, slots=True)
class Beside:
    """What the index beside the live one, of that key, says of the same version."""

    key: str
    answer: Indexed | Failure


@dataclass(frozen=True, slots=True)
class Report:
    """What the live index says, since when, of one version of a document, and what the other one says, if any."""

    tenant_id: str
    document_id: str
    version: int
    answer: Answer
    at: datetime
    beside: Beside | None = None


def revise(known: Document, draft: Draft, now: datetime) -> Document:
    """Return the row after its source has shown `draft`; the same version when that says nothing new."""
    if not _differs(known, draft):
        kept = replace(known.draft, fingerprint=draft.fingerprint, size_bytes=draft.size_bytes)
        return replace(known, draft=replace(kept, readers=draft.readers, follows_source=draft.follows_source))
    # A version that cannot be read takes its forerunner out of the index with it.
    in_index = bool(known.draft.content_digest or known.awaiting or known.chunk_count)
    state = DocumentState.FAILED if draft.failure else DocumentState.PENDING
    after = _next(replace(known, draft=draft), state, now, awaiting=not draft.failure or in_index)
    return _owing(known, after, now)


def first(document: Document) -> Document:
    """Return a new document's first row: pending, or failed and of no concern to the index."""
    if document.draft.failure:
        return replace(document, version=1, state=DocumentState.FAILED)
    return _next(document, DocumentState.PENDING, document.recorded_at)


def retire(known: Document, now: datetime) -> Document:
    """Return the row after its document has gone; a repeat changes nothing."""
    if known.state == DocumentState.DELETING:
        return known
    return _owing(known, _next(known, DocumentState.DELETING, now), now)


def permit(known: Document, readers: tuple[str, ...], now: datetime, *, follows_source: bool) -> Document:
    """Return the row after its readers were set; a new version where the index has to hear of it."""
    draft = replace(known.draft, readers=readers, follows_source=follows_source)
    return replace(known, draft=draft) if known.withdrawn else revise(known, draft, now)


def narrows(before: Document | None, after: Document) -> bool:
    """Return whether somebody who could read a document may do so no more."""
    if before is None or before.withdrawn:
        return False
    return after.withdrawn or (
        EVERYONE not in after.draft.readers and not set(before.draft.readers) <= set(after.draft.readers)
    )


def replay(known: Document, now: datetime) -> Document:
    """Return a failed row with content on its way to the index again."""
    if known.state != DocumentState.FAILED or not known.draft.content_digest:
        return known
    return _next(replace(known, draft=replace(known.draft, failure=None)), DocumentState.PENDING, now)


def renew(known: Document, now: datetime) -> Document:
    """Return the row with all that it says as a new version, which no answer that is on its way can be about."""
    if known.state in {DocumentState.PENDING, DocumentState.INDEXED}:
        return _next(known, DocumentState.PENDING, now)
    return known


def republish(known: Document, now: datetime) -> Document:
    """Return the row with its version given to the log once more."""
    return replace(known, published_at=now, publications=known.publications + 1)


def settle(known: Document, report: Report, now: datetime) -> Document | None:
    """Return the row after a report; None when it is to be removed.

    A report about another version, or that does not fit what was asked, changes nothing.
    """
    if (report.tenant_id, report.version, True) != (known.tenant_id, known.version, known.awaiting):
        return known
    match known.state:
        case DocumentState.PENDING:
            return _settle_pending(known, report, now)
        case DocumentState.DELETING if isinstance(report.answer, Removed):
            return None
        case DocumentState.FAILED if isinstance(report.answer, Removed):
            return replace(_answered(known), chunk_count=0, suspicious_chunk_count=0, indexed_at=None)
    return known


def _settle_pending(known: Document, report: Report, now: datetime) -> Document:
    match report.answer:
        case Indexed(chunk_count, suspicious_count):
            indexed = replace(_answered(known), state=DocumentState.INDEXED, indexed_at=report.at)
            return replace(indexed, chunk_count=chunk_count, suspicious_chunk_count=suspicious_count)
        case Failure() as failure:
            failed = replace(known, draft=replace(known.draft, failure=failure))
            if known.chunk_count:  # of an earlier version, which must not be found in this one's place
                return _next(failed, DocumentState.FAILED, now)
            return replace(_answered(failed), state=DocumentState.FAILED)
    return known


def _answered(known: Document) -> Document:
    """Return the row when the index owes nothing more about it."""
    return replace(known, awaiting=False, narrowed_at=None, former_blobs=())


def _next(known: Document, state: DocumentState, now: datetime, *, awaiting: bool = True) -> Document:
    """Return the row's next version, published now where the index must hear of it."""
    return replace(
        known,
        version=known.version + 1,
        state=state,
        recorded_at=now,
        awaiting=awaiting,
        published_at=now if awaiting else known.published_at,
        publications=int(awaiting),
    )


def _owing(known: Document, after: Document, now: datetime) -> Document:
    """Return `after` with what the index still has of `known`: who could read it, and the contents it may read."""
    if not after.awaiting:
        return after
    narrowed_at = known.narrowed_at or (now if narrows(known, after) else None)
    former = known.contents - {after.draft.blob_key} if known.awaiting or known.chunk_count else ()
    return replace(after, narrowed_at=narrowed_at, former_blobs=tuple(sorted(former)))


def _differs(known: Document, draft: Draft) -> bool:
    if known.state == DocumentState.DELETING:
        return True
    if draft.failure:
        before, after = known.draft, draft
        return (before.external_id, before.content_digest, _reason(before)) != (after.external_id, "", _reason(after))
    return _shown(known.draft) != _shown(draft)


def _shown(draft: Draft) -> tuple[object, ...]:
    """Return what readers of the index can see of a draft."""
    return (
        draft.external_id,
        draft.title,
        draft.uri,
        draft.media_type,
        draft.content_digest,
        draft.readers,
        dict(draft.metadata),
    )


def _reason(draft: Draft) -> str:
    return draft.failure.reason if draft.failure else ""
