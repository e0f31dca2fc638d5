"""An index, a readership, tunings, an embedder and a reranker in memory, for tests and for trying things out."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from services.common import index
from services.common.client import CallOptions
from services.common.identity import EVERYONE, Identity
from services.common.indexes import TenantIndex
from services.common.permissions import SET_PREFIX
from services.retrieve.adapters.rows import hit_of
from services.retrieve.domain.hits import MOST_CHUNKS, Embedded, Found, Hit, Reader, Search, Section, Vector
from services.retrieve.domain.query import Filter
from services.retrieve.domain.tuning import NONE_PUT, KeptTuning, Tuning, TuningChanged, TuningNotFound

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
        collection = search.reader.collection_of(search.embedded.model)
        if collection not in self._collections:
            return Found("", ())
        readable = {
            chunk_id: row
            for chunk_id, row in self._readable(collection, search.reader).items()
            if _passes(row, search.query.filter)
        }
        similarity = {one: float(np.dot(row[index.DENSE], search.embedded.vector)) for one, row in readable.items()}
        shared = {one: _shared_words(row[index.WORDS], search.stems) for one, row in readable.items()}
        limit = search.query.candidate_count
        by_words = _best({one: count for one, count in shared.items() if count}, limit)
        found = dict.fromkeys((*_best(similarity, limit), *by_words))
        bm25 = {one: shared[one] if one in by_words else None for one in found}
        return Found(collection, [hit_of(one, readable[one], similarity[one], bm25[one]) for one in found])

    async def chunks(self, reader: Reader, model: str, chunk_ids: Sequence[str]) -> Found:
        collection = reader.collection_of(model)
        if collection not in self._collections:
            return Found("", ())
        readable = self._readable(collection, reader)
        return Found(collection, [hit_of(one, readable[one]) for one in chunk_ids if one in readable])

    async def sections(self, reader: Reader, model: str, sections: Sequence[Section]) -> Sequence[Hit]:
        readable = self._readable(reader.collection_of(model), reader)
        return [
            hit_of(chunk_id, row) for chunk_id, row in readable.items() if any(_is_of(one, row) for one in sections)
        ]

    async def document(self, reader: Reader, model: str, document_id: str, sources: Sequence[str]) -> Found:
        collection = reader.collection_of(model)
        if collection not in self._collections:
            return Found("", ())
        wanted = Filter(sources=tuple(sources))
        own = {
            chunk_id: row
            for chunk_id, row in self._readable(collection, reader).items()
            if row[index.DOCUMENT_ID] == document_id and row[index.ORDINAL] < MOST_CHUNKS and _passes(row, wanted)
        }
        return Found(collection, [hit_of(chunk_id, row) for chunk_id, row in own.items()])

    def _readable(self, collection: str, reader: Reader) -> Rows:
        rows = self._collections.get(collection, {})
        principals = set(reader.principals)
        return {chunk_id: row for chunk_id, row in rows.items() if set(row[index.READERS]) & principals}


def _passes(row: dict[str, Any], wanted: Filter) -> bool:
    changed_at = row[index.CHANGED_AT]
    named: Sequence[tuple[Sequence[str], set[Any]]] = (
        (wanted.sources, {row[index.SOURCE_ID], row[index.SOURCE_NAME]}),
        (wanted.kinds, {row[index.KIND]}),
        (wanted.authors, {row[index.AUTHOR]}),
    )
    return (
        all(not names or bool(own & set(names)) for names, own in named)
        and (wanted.changed_after_ms is None or changed_at >= wanted.changed_after_ms)
        and (wanted.changed_before_ms is None or changed_at < wanted.changed_before_ms)
        and all(_same(row[index.METADATA].get(name), value) for name, value in wanted.metadata.items())
    )


def _same(value: object, wanted: object) -> bool:
    return value == wanted and isinstance(value, bool) == isinstance(wanted, bool)


def _is_of(section: Section, row: dict[str, Any]) -> bool:
    same = (row[index.DOCUMENT_ID], row[index.VERSION]) == (section.document_id, section.version)
    return same and section.first <= row[index.ORDINAL] <= section.last


def _shared_words(words: str, stems: Collection[str]) -> float:
    return float(len(set(words.split()) & set(stems)))


def _best(scores: Mapping[str, float], limit: int) -> list[str]:
    return sorted(scores, key=lambda one: -scores[one])[:limit]


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


class MemoryConfigurations:
    """The indexes of every tenant; at first nobody ever chose."""

    def __init__(self) -> None:
        self.index = TenantIndex()

    async def of(self, identity: Identity) -> TenantIndex:
        return self.index


class MemoryTunings:
    """A Tunings of a list a tenant."""

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._kept: defaultdict[str, list[KeptTuning]] = defaultdict(list)
        self._now = now

    async def live(self, identity: Identity) -> KeptTuning:
        kept = self._kept.get(identity.tenant_id)
        return kept[-1] if kept else NONE_PUT

    async def version(self, identity: Identity, version: int) -> KeptTuning:
        for one in self._kept.get(identity.tenant_id, ()):
            if one.version == version:
                return one
        raise TuningNotFound("there is no such version of the tuning", version=version)

    async def before(self, identity: Identity, version: int | None, limit: int) -> Sequence[KeptTuning]:
        kept = reversed(self._kept.get(identity.tenant_id, ()))
        return [one for one in kept if version is None or one.version < version][:limit]

    async def put(self, identity: Identity, tuning: Tuning, expected: int) -> KeptTuning:
        live = (await self.live(identity)).version
        if live != expected:
            raise TuningChanged("the tuning is not what you have seen", version=live)
        kept = KeptTuning(expected + 1, tuning, self._now())
        self._kept[identity.tenant_id].append(kept)
        return kept


class MemoryQueryEmbedder:
    """A QueryEmbedder that gives the same text the same direction, and no meaning."""

    def __init__(self, dimensions: int, model: str = "memory") -> None:
        self._dimensions = dimensions
        self._model = model

    async def embed(self, text: str, call: CallOptions, model: str = "") -> Embedded:
        return Embedded(self.vector_of(text), model or self._model)

    def vector_of(self, text: str) -> Vector:
        """Return the unit vector of `text`."""
        seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])
        vector = np.random.default_rng(seed).standard_normal(self._dimensions).astype(np.float32)
        unit: Vector = vector / np.linalg.norm(vector)
        return unit


class MemoryReranker:
    """A Reranker by the share of the query's words that a text has."""

    async def scores(self, reranker: str, query: str, texts: Sequence[str]) -> Sequence[float]:
        wanted = set(query.casefold().split())
        return [len(wanted & set(text.casefold().split())) / max(1, len(wanted)) for text in texts]
