"""Refuses what the index cannot store, before anything is done for it."""

import orjson

from services.common import index
from services.embed.domain import Change, DocumentTooLarge, InvalidRecord

MAX_ID_BYTES = 64
MAX_METADATA_BYTES = 32 * 1024


def refuse_unstorable(change: Change, max_bytes: int) -> None:
    """Raise unless the index can hold `change`.

    Readers are never cut: who may read a document must be exactly what its source says.

    Raises:
        InvalidRecord: an id, the readers or the metadata do not fit.
        DocumentTooLarge: it says that it is.
    """
    if change.size_bytes > max_bytes:
        raise DocumentTooLarge(f"the file is larger than {max_bytes} bytes")
    if max(map(_size, (change.document_id, change.source_id, change.content_digest))) > MAX_ID_BYTES:
        raise InvalidRecord(f"an id is longer than {MAX_ID_BYTES} bytes")
    if len(change.readers) > index.MAX_READERS:
        raise InvalidRecord(f"more than {index.MAX_READERS} readers")
    if any(_size(reader) > index.MAX_READER_BYTES for reader in change.readers):
        raise InvalidRecord(f"a reader's name is longer than {index.MAX_READER_BYTES} bytes")
    if len(orjson.dumps(change.metadata)) > MAX_METADATA_BYTES:
        raise InvalidRecord(f"the metadata is larger than {MAX_METADATA_BYTES} bytes")


def _size(text: str) -> int:
    return len(text.encode())
