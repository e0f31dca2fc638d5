"""Compares what a source lists with what the manifest knows."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields

from services.ingest.domain import Document, DocumentState, Draft
from services.ingest.errors import PathGone
from services.ingest.ports import Entry, Listing


@dataclass(frozen=True, slots=True)
class Known:
    """What the manifest knows of a document; `gone` when its deletion is recorded already."""

    external_id: str
    version: int
    fingerprint: str
    content_digest: str
    gone: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """What a source shows of one document: its draft, or None when it has gone.

    `external_id` is the one that the manifest knows (a move's draft has another), and
    `version` the row's that the change was found against; 0 means that there was none.
    """

    external_id: str
    version: int
    draft: Draft | None


@dataclass(frozen=True, slots=True)
class Tally:
    """How many documents a sync found in which way."""

    added: int = 0
    changed: int = 0
    moved: int = 0
    deleted: int = 0
    unchanged: int = 0
    failed: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(*(getattr(self, item.name) + getattr(other, item.name) for item in fields(self)))


@dataclass(frozen=True, slots=True)
class Comparison:
    """Which documents have to be looked at, which have gone, and how many are as they were."""

    suspects: tuple[Entry, ...]
    gone: tuple[Known, ...]
    unchanged: int


def compare(listing: Listing, known: Mapping[str, Known], limit_bytes: int) -> Comparison:
    """Return where a listing departs from the manifest, as far as it shows without reading."""
    suspects = [
        entry for entry in listing.entries.values() if not _as_it_was(entry, known.get(entry.external_id), limit_bytes)
    ]
    gone = [
        row
        for row in known.values()
        if not row.gone and row.external_id not in listing.entries and not _under(row.external_id, listing.unlisted)
    ]
    return Comparison(tuple(suspects), tuple(gone), len(listing.entries) - len(suspects))


def outcome_of(before: Document | None, after: Document) -> Tally:
    """Return how a sync counts a row that was, and is now."""
    if after.state == DocumentState.FAILED and not after.draft.content_digest:
        return Tally(failed=1)
    if before is None or (before.state == DocumentState.DELETING and after.version > before.version):
        return Tally(added=1)
    if after.version == before.version:
        return Tally(unchanged=1)
    if after.state == DocumentState.DELETING:
        return Tally(deleted=1)
    if after.draft.external_id != before.draft.external_id:
        return Tally(moved=1)
    return Tally(changed=1)


def refuse_unmounted(listing: Listing, known: Collection[Known], root: str) -> None:
    """Raise unless the listing may be believed: an empty folder may be a disk that is not mounted.

    Raises:
        PathGone: nothing is there, and it is another folder than the one that held documents.
    """
    if listing.entries or listing.unlisted or not root or listing.root == root:
        return
    if any(not row.gone for row in known):
        raise PathGone("the folder is empty, and is not the folder it was: its documents are kept")


def _as_it_was(entry: Entry, known: Known | None, limit_bytes: int) -> bool:
    if known is None or known.gone or not entry.fingerprint or known.fingerprint != entry.fingerprint:
        return False
    return known.content_digest != "" and entry.size_bytes <= limit_bytes


def _under(external_id: str, folders: Iterable[str]) -> bool:
    return any(external_id.startswith(folder) for folder in folders)


class Gone:
    """Documents that are not where they were, to be found again by content under another name."""

    def __init__(self, rows: Iterable[Known]) -> None:
        self._rows: dict[str, Known] = {}
        self._by_digest: defaultdict[str, list[Known]] = defaultdict(list)
        for row in rows:
            self.add(row)

    def add(self, row: Known) -> None:
        """Take one more."""
        self._rows[row.external_id] = row
        if row.content_digest:
            self._by_digest[row.content_digest].append(row)

    def claim(self, content_digest: str) -> Known | None:
        """Return one of that content, which has then not gone but moved."""
        rows = self._by_digest.get(content_digest)
        return self._rows.pop(rows.pop().external_id) if rows else None

    def __iter__(self) -> Iterator[Known]:
        return iter(self._rows.values())
