"""Cuts whole documents: by their kind, unless their source wants it otherwise."""

from dataclasses import replace
from pathlib import PurePosixPath

from services.common.index_config import MIN_CHUNK_TOKENS, IndexConfig
from services.embed.chunking.chunker import Chunker, ChunkLimits
from services.embed.chunking.kinds import author_of, kind_of, language_in
from services.embed.chunking.strategies import STRATEGIES
from services.embed.domain import Change, Chunk, Chunking, ParsedDocument
from services.embed.ports import Tokens


class DocumentChunker:
    """Makes the chunks of an index of one configuration."""

    def __init__(self, tokens: Tokens, config: IndexConfig) -> None:
        self._tokens = tokens
        self._config = config

    def chunks_of(self, document: ParsedDocument, change: Change) -> list[Chunk]:
        """Return a document's chunks in order, with its kind, language and author."""
        title = change.title or document.title or PurePosixPath(change.external_id).stem
        kind = kind_of(document, change)
        strategy = (
            change.chunking.strategy if change.chunking.strategy in STRATEGIES else self._config.strategy_of(kind)
        )
        chunks = Chunker(self._tokens, self._limits(change.chunking)).chunk(document, title, STRATEGIES[strategy])
        language = language_in(document, change, self._config.languages)
        author = author_of(document, change)
        return [replace(chunk, kind=kind, language=language, author=author) for chunk in chunks]

    def _limits(self, wanted: Chunking) -> ChunkLimits:
        """Return the sizes wanted, or else the index's; no chunk is longer than the model reads."""
        size = min(max(wanted.chunk_tokens or self._config.chunk_tokens, MIN_CHUNK_TOKENS), self._tokens.most)
        overlap = self._config.overlap_tokens if wanted.overlap_tokens is None else wanted.overlap_tokens
        return ChunkLimits(size, min(max(overlap, 0), size // 2))
