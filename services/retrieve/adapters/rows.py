"""Rows of the passage index, as the hits that they stand for."""

from typing import Any

from services.common import index
from services.retrieve.domain.hits import Hit

# What a hit needs; the vectors stay where they are.
FIELDS = [
    index.DOCUMENT_ID,
    index.VERSION,
    index.SOURCE_ID,
    index.SOURCE_NAME,
    index.TITLE,
    index.URI,
    index.HEADINGS,
    index.TEXT,
    index.WORDS,
    index.LANGUAGE,
    index.KIND,
    index.AUTHOR,
    index.ORDINAL,
    index.SECTION_FIRST,
    index.SECTION_LAST,
    index.START,
    index.END,
    index.PAGE,
    index.CHANGED_AT,
    index.METADATA,
    index.SUSPICIONS,
]


def hit_of(chunk_id: str, row: dict[str, Any], similarity: float | None = None, bm25: float | None = None) -> Hit:
    """Return the hit of a row that has FIELDS, with what each leg says of it."""
    return Hit(
        chunk_id=chunk_id,
        document_id=row[index.DOCUMENT_ID],
        version=row[index.VERSION],
        source_id=row[index.SOURCE_ID],
        source_name=row[index.SOURCE_NAME],
        title=row[index.TITLE],
        uri=row[index.URI],
        headings=tuple(row[index.HEADINGS]),
        text=row[index.TEXT],
        words=row[index.WORDS],
        language=row[index.LANGUAGE],
        kind=row[index.KIND],
        author=row[index.AUTHOR],
        ordinal=row[index.ORDINAL],
        section_first=row[index.SECTION_FIRST],
        section_last=row[index.SECTION_LAST],
        start_offset=row[index.START],
        end_offset=row[index.END],
        page=row[index.PAGE],
        changed_at_ms=row[index.CHANGED_AT],
        metadata=row[index.METADATA],
        suspicions=tuple(row[index.SUSPICIONS]),
        similarity=similarity,
        bm25=bm25,
    )
