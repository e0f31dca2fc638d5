"""A passage index, its readership and an embedder in memory, for tests and for trying things out."""

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from services.common import index
from services.common.client import CallOptions
from services.common.identity import EVERYONE, Identity
from services.common.permissions import SET_PREFIX
from services.retrieve.adapters.rows import hit_of
from services.retrieve.domain import Embedded, Filter, Found, Search, Vector

RRF_K = 60

Rows = dict[str, dict[str, Any]]


class MemoryPassageIndex:
    """A PassageIndex of rows in a dict a collection."""

    def __init__(self) -> None:
        self._collections: dict[str, Rows] = {}

    def create(self, collection: str) -> None:
        """Make an empty collection."""
        self._collections.setdefault(collection, {})

    def upsert(self, collection: str, rows: Iterable[index.Row]) -> None:
        """Write `rows` by their ids."""
        self._collections[collection].update({str(row[index.ID]): dict(row) for row in rows})

    async def search(self, search: Search) -> Found:
        collection = index.collection_of(search.identity.tenant_id, search.config)
        if collection not in self._collections:
            return Found("", ())
        readable = {
            chunk_id: row
            for chunk_id, row in self._collections[collection].items()
            if set(row[index.READERS]) & set(search.principals) and _passes(row, search.query.filter)
        }
        scores = _fused(
            _best(readable, lambda row: float(np.dot(row[index.DENSE], search.embedded.vector))),
            _best(readable, lambda row: _shared_words(row[index.WORDS], search.stems)),
        )
        best = sorted(scores, key=lambda chunk_id: -scores[chunk_id])[: search.query.candidate_count]
        return Found(collection, [hit_of(chunk_id, scores[chunk_id], readable[chunk_id]) for chunk_id in best])


def _passes(row: dict[str, Any], wanted: Filter) -> bool:
    changed_at = row[index.CHANGED_AT]
    return (
        (not wanted.sources or bool({row[index.SOURCE_ID], row[index.SOURCE_NAME]} & set(wanted.sources)))
        and (wanted.changed_after_ms is None or changed_at >= wanted.changed_after_ms)
        and (wanted.changed_before_ms is None or changed_at < wanted.changed_before_ms)
        and all(_same(row[index.METADATA].get(name), value) for name, value in wanted.metadata.items())
    )


def _same(value: object, wanted: object) -> bool:
    return value == wanted and isinstance(value, bool) == isinstance(wanted, bool)


def _best(rows: Rows, score: Callable[[dict[str, Any]], float | None]) -> list[str]:
    scores = {chunk_id: score(row) for chunk_id, row in rows.items()}
    return sorted((one for one in scores if scores[one] is not None), key=lambda one: -(scores[one] or 0.0))


def _shared_words(words: str, stems: Collection[str]) -> float | None:
    return len(set(words.split()) & set(stems)) or None


def _fused(*rankings: Sequence[str]) -> dict[str, float]:
    scores: dict[str, float] = {}
    for ranking in rankings:
        for rank, chunk_id in enumerate(ranking, start=1):
            scores[chunk_id] = scores.get(chunk_id, 0.0) + 1 / (RRF_K + rank)
    return scores


class MemoryReadership:
    """A Readership of each document's readers, and each set's members, by tenant and id."""

    def __init__(self) -> None:
        self.readers: dict[tuple[str, str], frozenset[str]] = {}
        self.members: dict[tuple[str, str], frozenset[str]] = {}

    async def sets_of(self, identity: Identity) -> tuple[str, ...]:
        own = frozenset(identity.principals)
        return tuple(
            SET_PREFIX + set_id
            for (tenant_id, set_id), members in self.members.items()
            if tenant_id == identity.tenant_id and members & own
        )

    async def readable(self, identity: Identity, document_ids: Collection[str]) -> Mapping[str, bool]:
        known = {one: self.readers.get((identity.tenant_id, one), frozenset()) for one in document_ids}
        own = frozenset(identity.principals)
        return {one: EVERYONE in readers for one, readers in known.items() if readers & own}


class MemoryQueryEmbedder:
    """A QueryEmbedder that gives the same text the same direction, and no meaning."""

    def __init__(self, dimensions: int, model: str = "memory") -> None:
        self._dimensions = dimensions
        self._model = model

    async def embed(self, text: str, call: CallOptions, model: str = "") -> Embedded:
        return Embedded(self.vector_of(text), self._model)

    def vector_of(self, text: str) -> Vector:
        """Return the unit vector of `text`."""
        seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])
        vector = np.random.default_rng(seed).standard_normal(self._dimensions).astype(np.float32)
        unit: Vector = vector / np.linalg.norm(vector)
        return unit
