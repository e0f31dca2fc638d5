"""What a connector offers: a listing of a source, its contents, and word of changes."""

from collections.abc import AsyncGenerator, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol


class Vanished(Exception):
    """A document was listed, and is not there any more."""


class Unreadable(Exception):
    """A document is there, and cannot be read; the message says why, for people."""


class TooLarge(Exception):
    """A document has grown over the limit."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A document as the source lists it, without its content.

    `fingerprint` changes whenever the content may have; "" means that nobody can tell.
    `location` is the connector's own way to find it.
    """

    external_id: str
    location: str
    title: str
    uri: str
    media_type: str
    size_bytes: int
    changed_at: datetime
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Listing:
    """What is in a source, by external id.

    Of the folders in `unlisted` (prefixes of external ids) nothing is known. `root` tells
    one folder from another at the same path.
    """

    root: str
    entries: Mapping[str, Entry] = field(default_factory=dict)
    unlisted: tuple[str, ...] = ()


class Connector(Protocol):
    """Reads one source where it lives."""

    async def scan(self, only: Collection[str] | None = None) -> Listing:
        """Return what is there: everything, or only these external ids ("folder/": all below it).

        Raises:
            PathGone: the source cannot be reached, or is not what it was.
        """
        ...

    async def read(self, entry: Entry, limit_bytes: int) -> tuple[bytes, Entry]:
        """Return a document's content, and its entry as it was when that was read.

        Raises:
            Vanished, Unreadable, TooLarge: there is no content to be had.
        """
        ...

    def watch(self) -> AsyncGenerator[Collection[str] | None]:
        """Yield what may have changed, as `scan` takes it; None is anything.

        The first is None, once no later change can be missed.

        Raises:
            PathGone: the source cannot be followed any more; scan and watch again.
        """
        ...
