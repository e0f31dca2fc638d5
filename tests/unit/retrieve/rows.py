"""Rows of the passage index, with the few facts that a test is about."""

import numpy as np

from services.common.analysis import passage_stems, question_stems
from services.common.identity import Identity
from services.retrieve.domain.hits import Embedded, Hit, Reader, Search
from services.retrieve.domain.query import Filter, Query

DIMENSIONS = 8
MODEL = "test-model"
LANGUAGES = ("en", "fr")


def axis(number: int) -> np.ndarray:
    """Return the unit vector along one axis."""
    return np.eye(DIMENSIONS, dtype=np.float32)[number]


def row(chunk_id: str, text: str = "some words", **facts) -> dict:
    return {
        "id": chunk_id,
        "document_id": f"doc-{chunk_id}",
        "version": 1,
        "source_id": "src-1",
        "source_name": "Wiki",
        "readers": ["everyone"],
        "text": text,
        "words": " ".join(passage_stems([text], "", LANGUAGES)),
        "language": "",
        "kind": "text",
        "author": "",
        "section_first": 0,
        "section_last": 0,
        "dense": axis(0),
        "title": "Title",
        "uri": "file:///wiki.md",
        "headings": ["Top", "Sub"],
        "ordinal": 0,
        "start_offset": 0,
        "end_offset": len(text),
        "page": 0,
        "content_digest": "",
        "metadata": {},
        "suspicions": [],
        "changed_at": 1_700_000_000_000,
    } | facts


def search(text: str = "some words", vector=None, **facts) -> Search:
    model = facts.pop("model", MODEL)
    return Search(
        reader=Reader(
            Identity(facts.pop("tenant_id", "acme"), "user:x", facts.pop("principals", ("everyone",))),
            facts.pop("sets", ()),
        ),
        query=Query(text, facts.pop("top_k", 8), Filter(**facts)),
        embedded=Embedded(axis(0) if vector is None else vector, model),
        stems=tuple(question_stems(text, LANGUAGES)),
    )


def hit(document_id: str, ordinal: int, score: float = 0.0, **facts) -> Hit:
    text = facts.pop("text", "x" * 10)
    start = facts.pop("start_offset", ordinal * 10)
    return Hit(
        **{
            "chunk_id": f"{document_id}/{ordinal}",
            "document_id": document_id,
            "version": 1,
            "source_id": "src-1",
            "source_name": "Wiki",
            "title": "Title",
            "uri": "",
            "headings": (f"heading {ordinal}",),
            "text": text,
            "words": " ".join(passage_stems([text], "", LANGUAGES)),
            "language": "",
            "kind": "text",
            "author": "",
            "ordinal": ordinal,
            "section_first": ordinal,
            "section_last": ordinal,
            "start_offset": start,
            "end_offset": start + len(text),
            "page": 0,
            "changed_at_ms": 0,
            "metadata": {},
            "suspicions": (),
            "score": score,
        }
        | facts
    )
