"""Rows of the passage index, as the hits that they stand for."""

from typing import Any

from services.common import index
from services.retrieve.domain import Hit

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


def hit_of(chunk_id: str, score: float, row: dict[str, Any]) -> Hit:
    """Return the hit of a row that has FIELDS."""
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
        ordinal=row[index.ORDINAL],
        start_offset=row[index.START],
        end_offset=row[index.END],
        page=row[index.PAGE],
        changed_at_ms=row[index.CHANGED_AT],
        metadata=row[index.METADATA],
        suspicions=tuple(row[index.SUSPICIONS]),
        score=score,
        language=row[index.LANGUAGE],
        kind=row[index.KIND],
        author=row[index.AUTHOR],
        section_first=row[index.SECTION_FIRST],
        section_last=row[index.SECTION_LAST],
    )
