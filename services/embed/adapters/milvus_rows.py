"""Passages as rows of the index, cut to what its fields hold, and back."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from services.common import index
from services.common.analysis import passage_stems
from services.embed.domain import Change, Chunk, Passage, StoredPassage

MAX_TITLE_BYTES = 4000
MAX_URI_BYTES = 8000
MAX_SOURCE_NAME_BYTES = 400

FIELDS = [
    index.ID,
    index.DOCUMENT_ID,
    index.VERSION,
    index.SOURCE_ID,
    index.SOURCE_NAME,
    index.READERS,
    index.TEXT,
    index.LANGUAGE,
    index.KIND,
    index.AUTHOR,
    index.DENSE,
    index.TITLE,
    index.URI,
    index.HEADINGS,
    index.ORDINAL,
    index.SECTION_FIRST,
    index.SECTION_LAST,
    index.START,
    index.END,
    index.PAGE,
    index.CONTENT_DIGEST,
    index.METADATA,
    index.CHANGED_AT,
    index.SUSPICIONS,
]


def row_of(passage: Passage, languages: Sequence[str]) -> index.Row:
    """Return the row of a passage of an index with these languages."""
    change, chunk = passage.change, passage.chunk
    return {
        index.ID: passage.id,
        index.DOCUMENT_ID: change.document_id,
        index.VERSION: change.version,
        index.SOURCE_ID: change.source_id,
        index.SOURCE_NAME: cut(change.source_name, MAX_SOURCE_NAME_BYTES),
        index.READERS: list(change.readers),
        index.TEXT: cut(chunk.text, index.MAX_TEXT_BYTES),
        index.WORDS: cut(" ".join(_words_of(passage, languages)), index.MAX_TEXT_BYTES),
        index.LANGUAGE: chunk.language,
        index.KIND: chunk.kind,
        index.AUTHOR: cut(chunk.author, index.MAX_AUTHOR_BYTES),
        index.DENSE: passage.vector,
        index.TITLE: cut(change.title, MAX_TITLE_BYTES),
        index.URI: cut(change.uri, MAX_URI_BYTES),
        index.HEADINGS: list(chunk.headings),
        index.ORDINAL: passage.ordinal,
        index.SECTION_FIRST: chunk.section_first,
        index.SECTION_LAST: chunk.section_last,
        index.START: chunk.start,
        index.END: chunk.end,
        index.PAGE: chunk.page,
        index.CONTENT_DIGEST: change.content_digest,
        index.METADATA: dict(change.metadata),
        index.CHANGED_AT: change.changed_at,
        index.SUSPICIONS: list(chunk.suspicions),
    }


def passage_of(tenant_id: str, row: dict[str, Any]) -> Passage:
    """Return the passage of a row; what was embedded of it is not stored."""
    change = Change(
        tenant_id=tenant_id,
        document_id=row[index.DOCUMENT_ID],
        version=row[index.VERSION],
        source_id=row[index.SOURCE_ID],
        source_name=row[index.SOURCE_NAME],
        content_digest=row[index.CONTENT_DIGEST],
        title=row[index.TITLE],
        uri=row[index.URI],
        readers=tuple(row[index.READERS]),
        metadata=row[index.METADATA],
        changed_at=row[index.CHANGED_AT],
    )
    chunk = Chunk(
        text=row[index.TEXT],
        start=row[index.START],
        end=row[index.END],
        headings=tuple(row[index.HEADINGS]),
        page=row[index.PAGE],
        embedded_text="",
        tokens=0,
        suspicions=tuple(row[index.SUSPICIONS]),
        section_first=row[index.SECTION_FIRST],
        section_last=row[index.SECTION_LAST],
        language=row[index.LANGUAGE],
        kind=row[index.KIND],
        author=row[index.AUTHOR],
    )
    return Passage(row[index.ID], change, chunk, row[index.ORDINAL], np.asarray(row[index.DENSE], dtype=np.float32))


def stored_of(row: dict[str, Any]) -> StoredPassage:
    """Return what must be known of a row."""
    return StoredPassage(
        id=row[index.ID],
        document_id=row[index.DOCUMENT_ID],
        version=row[index.VERSION],
        ordinal=row[index.ORDINAL],
        content_digest=row[index.CONTENT_DIGEST],
        is_suspicious=bool(row[index.SUSPICIONS]),
    )


def _words_of(passage: Passage, languages: Sequence[str]) -> list[str]:
    """Return the stems of a passage's text, and of those lines above it that it does not have itself."""
    change, chunk = passage.change, passage.chunk
    above = [line for line in dict.fromkeys((change.title, *chunk.headings)) if line not in chunk.text]
    return passage_stems((*above, chunk.text), chunk.language, languages)


def cut(text: str, max_bytes: int) -> str:
    """Return as much of `text` as `max_bytes` of UTF-8 hold."""
    encoded = text.encode("utf-8", "replace")
    return text if len(encoded) <= max_bytes else encoded[:max_bytes].decode("utf-8", "ignore")
