"""One search: a query embedded, both legs searched, and what the reader may still read of it, fused."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from services.common.analysis import language_of, stems_of
from services.common.client import Outgoing
from services.common.identity import Identity
from services.retrieve.choice import IndexChoice
from services.retrieve.domain.function_words import telling
from services.retrieve.domain.fusion import Reading, dense_share_of, fused, language_by_words
from services.retrieve.domain.hits import Chosen, Embedded, Found, Hit, Reader, Search, Section
from services.retrieve.domain.passages import current
from services.retrieve.domain.query import Query
from services.retrieve.domain.tuning import Tuning
from services.retrieve.metrics import DENSE_SHARE, EMBED, FUSE, HITS_WITHHELD, PERMISSIONS, SEARCH, SETS, stage
from services.retrieve.ports import PassageIndex, QueryEmbedder, Readership

EMBED_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Languages:
    """Those that words are stemmed by, and those that the embedding model reads; ISO 639-1."""

    of_words: Sequence[str]
    model_reads: Sequence[str]


@dataclass(frozen=True, slots=True)
class Candidates:
    """What one search found that its reader may read: its hits, best first, each document with whether everybody may.

    `dense_share` is what it was fused with.
    """

    query: str
    stems: tuple[str, ...]
    index_version: str
    model: str
    dense_share: float
    hits: Sequence[Hit]
    public: Mapping[str, bool]


@dataclass(frozen=True, slots=True)
class Sight:
    """Which index a reader reads, and who may read what."""

    choice: IndexChoice
    readership: Readership


class Finder:
    """Searches as a reader. What the manifest withholds by now is dropped before it is looked at."""

    def __init__(
        self,
        embedder: QueryEmbedder,
        index: PassageIndex,
        sight: Sight,
        outgoing: Outgoing,
        languages: Languages,
    ) -> None:
        self._embedder = embedder
        self._index = index
        self._readership = sight.readership
        self.chosen = sight.choice.of
        self._outgoing = outgoing
        self._languages = languages

    async def reader(self, identity: Identity, chosen: Chosen) -> Reader:
        """Return the identity with its sets of readers, to read a chosen index."""
        with stage(SETS):
            return Reader(identity, await self._readership.sets_of(identity), chosen)

    async def embedded(self, text: str, identity: Identity, chosen: Chosen, context: Any) -> Embedded:
        """Return a text's vector by a chosen index's model, within the call of `context`."""
        # What a text means is the same for every reader, and principals can be many.
        bare = replace(identity, principals=())
        with stage(EMBED):
            return await self._embedder.embed(text, self._outgoing(bare, context, EMBED_SECONDS), chosen.model)

    async def find(self, reader: Reader, query: Query, embedded: Embedded, tuning: Tuning) -> Candidates:
        """Search with a query that is embedded, and fuse what is found."""
        of_words = reader.chosen.languages or self._languages.of_words
        language = language_of(query.text, of_words)
        stems = telling(stems_of(query.text, [language] if language else of_words), language)
        found, public = await self._readable_found(Search(reader, query, embedded, stems))
        readable = [hit for hit in found.hits if hit.document_id in public]
        with stage(FUSE):
            share = tuning.dense_share
            if share is None:
                # Too short to tell a language by, it is most likely in that of the passages that have its words.
                reading = Reading(language or language_by_words(readable), self._languages.model_reads)
                share = dense_share_of(query.text, reading)
            # Weights may raise any of them.
            most = len(readable) if tuning.weighs else max(query.enough, tuning.rerank_depth)
            hits = fused(readable, stems, share, most)
        DENSE_SHARE.observe(share)
        return Candidates(query.text, stems, found.index_version, embedded.model, share, hits, public)

    async def _readable_found(self, search: Search) -> tuple[Found, Mapping[str, bool]]:
        with stage(SEARCH):
            found = await self._index.search(search)
        return found, await self.readable(search.reader.identity, found.hits)

    async def chunks(self, reader: Reader, model: str, chunk_ids: Sequence[str]) -> tuple[Found, Mapping[str, bool]]:
        """Return those of the chunks that the index lets the reader have, and the documents that the manifest does."""
        with stage(SEARCH):
            found = await self._index.chunks(reader, model, chunk_ids)
        return found, await self.readable(reader.identity, found.hits)

    async def sections(self, reader: Reader, model: str, sections: Sequence[Section]) -> list[Hit]:
        """Return the chunks of sections that the reader may read."""
        hits = await self._index.sections(reader, model, sections)
        public = await self.readable(reader.identity, hits)
        return [hit for hit in hits if hit.document_id in public]

    async def document(self, reader: Reader, model: str, document_id: str, sources: Sequence[str]) -> Found:
        """Return a document's chunks as they stand in it, as far as the reader may read it."""
        found = await self._index.document(reader, model, document_id, sources)
        public = await self.readable(reader.identity, found.hits)
        shown = current([hit for hit in found.hits if hit.document_id in public])
        return Found(found.index_version, sorted(shown, key=lambda hit: hit.ordinal))

    async def readable(self, identity: Identity, hits: Sequence[Hit]) -> Mapping[str, bool]:
        """Return the documents of `hits` that the caller may read now, each with whether everybody may."""
        with stage(PERMISSIONS):
            readable = await self._readership.readable(identity, {hit.document_id for hit in hits})
        HITS_WITHHELD.inc(sum(hit.document_id not in readable for hit in hits))
        return readable
