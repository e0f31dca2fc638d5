"""What may be found, as Milvus' expressions."""

from collections.abc import Sequence

from services.common import index
from services.retrieve.domain.hits import MOST_CHUNKS, Section
from services.retrieve.domain.query import Filter


def filter_of(principals: Sequence[str], wanted: Filter) -> str:
    """Return the expression of what `principals` may read and `wanted` lets through."""
    clauses = [readable_by(principals)]
    if wanted.sources:
        sources = index.literal(list(wanted.sources))
        clauses.append(f"({index.SOURCE_ID} in {sources} or {index.SOURCE_NAME} in {sources})")
    if wanted.kinds:
        clauses.append(f"{index.KIND} in {index.literal(list(wanted.kinds))}")
    if wanted.authors:
        clauses.append(f"{index.AUTHOR} in {index.literal(list(wanted.authors))}")
    if wanted.changed_after_ms is not None:
        clauses.append(f"{index.CHANGED_AT} >= {wanted.changed_after_ms}")
    if wanted.changed_before_ms is not None:
        clauses.append(f"{index.CHANGED_AT} < {wanted.changed_before_ms}")
    for name, value in wanted.metadata.items():
        clauses.append(f"{index.METADATA}[{index.literal(name)}] == {index.literal(value)}")
    return " and ".join(clauses)


def chunks_of(principals: Sequence[str], chunk_ids: Sequence[str]) -> str:
    """Return the expression of those of the chunks that `principals` may read."""
    return f"{readable_by(principals)} and {index.ID} in {index.literal(list(chunk_ids))}"


def sections_of(principals: Sequence[str], sections: Sequence[Section]) -> str:
    """Return the expression of the chunks of `sections` that `principals` may read."""
    each = (
        f"({index.DOCUMENT_ID} == {index.literal(one.document_id)} and {index.VERSION} == {one.version}"
        f" and {index.ORDINAL} >= {one.first} and {index.ORDINAL} <= {one.last})"
        for one in sections
    )
    return f"{readable_by(principals)} and ({' or '.join(each)})"


def document_of(principals: Sequence[str], document_id: str, sources: Sequence[str]) -> str:
    """Return the expression of a document's first chunks, if it is of one of the sources."""
    clauses = [
        filter_of(principals, Filter(sources=tuple(sources))),
        f"{index.DOCUMENT_ID} == {index.literal(document_id)}",
        f"{index.ORDINAL} < {MOST_CHUNKS}",
    ]
    return " and ".join(clauses)


def readable_by(principals: Sequence[str]) -> str:
    """Return the expression of what `principals` may read."""
    return f"ARRAY_CONTAINS_ANY({index.READERS}, {index.literal(list(principals))})"
