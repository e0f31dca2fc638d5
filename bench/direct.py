"""The plain way, in one process: a parser, a chunker, an embedding model and pymilvus, with nothing around them."""

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from pymilvus import AnnSearchRequest, MilvusClient, RRFRanker

from bench.platform import free_address, wait_for_port
from services.cli import models, parts
from services.common import index
from services.common.analysis import question_stems
from services.embed.adapters.milvus_rows import row_of
from services.embed.adapters.tokens import HuggingFaceTokens
from services.embed.chunking.chunker import Chunker, ChunkLimits
from services.embed.domain import Change, Passage, ids_of
from services.embed.parsing.reader import read
from services.embed.parsing.source import Source
from services.retrieve.adapters.rows import FIELDS

TIMEOUT_SECONDS = 30.0
RRF_K = 60
CANDIDATES = 30
CHUNK_TOKENS = 220
OVERLAP_TOKENS = 30
MAX_CHARACTERS = 4_000_000
LANGUAGES = ("en", "fr")
READERS = f'ARRAY_CONTAINS_ANY({index.READERS}, ["everyone"])'


class Encode(Protocol):
    """Gives texts their unit vectors."""

    def __call__(self, texts: list[str]) -> Any: ...


def float32_encoder() -> Encode:
    """Return sentence-transformers as it comes: PyTorch, float32."""
    from sentence_transformers import SentenceTransformer  # noqa: PLC0415 - slow to import

    model = SentenceTransformer(str(models.embedding_model()))
    return lambda texts: model.encode(texts, normalize_embeddings=True, show_progress_bar=False)


def platform_encoder(cache: Path) -> Encode:
    """Return the backend that the platform embeds with by default."""
    from services.embed.adapters.openvino import OpenVinoEmbedder  # noqa: PLC0415 - slow to import

    return OpenVinoEmbedder(models.embedding_model(), cache, 0).embed


class Direct:
    """One collection, read and written by pymilvus."""

    def __init__(self, uri: str, collection: str, encode: Encode) -> None:
        self._client = MilvusClient(uri)
        self._collection = collection
        self._encode = encode
        tokens = HuggingFaceTokens(models.embedding_model())
        self._chunker = Chunker(tokens, ChunkLimits(CHUNK_TOKENS, OVERLAP_TOKENS))

    def create(self, dimensions: int) -> None:
        """Create the collection, as the platform does."""
        indexes = self._client.prepare_index_params()
        indexes.add_index(index.DENSE, index_type="AUTOINDEX", metric_type="COSINE")
        indexes.add_index(index.SPARSE, index_type="SPARSE_INVERTED_INDEX", metric_type="BM25", params=index.BM25)
        schema = index.schema_of(dimensions)
        self._client.create_collection(self._collection, schema=schema, index_params=indexes, timeout=TIMEOUT_SECONDS)

    def ingest(self, path: Path) -> int:
        """Parse, chunk, embed and upsert one file; return its chunks."""
        parsed = read(Source(path.read_bytes(), path.name, "", MAX_CHARACTERS))
        chunks = self._chunker.chunk(parsed, path.name)
        change = Change("bench", path.stem, 1, title=path.name, readers=("everyone",))
        vectors = self._encode([chunk.embedded_text for chunk in chunks])
        rows = [
            row_of(Passage(id_, change, chunk, ordinal, vectors[ordinal]), LANGUAGES)
            for ordinal, (id_, chunk) in enumerate(zip(ids_of(change, chunks), chunks, strict=True))
        ]
        self._client.upsert(self._collection, rows, timeout=TIMEOUT_SECONDS)
        return len(rows)

    def search(self, question: str, top_k: int) -> list[dict[str, Any]]:
        """Embed the question, run one hybrid search of as many candidates as the platform's, and read the best."""
        limit = max(CANDIDATES, 3 * top_k)
        vector = self._encode([question])[0]
        legs = [
            AnnSearchRequest([vector], index.DENSE, {}, limit, expr=READERS),
            AnnSearchRequest([" ".join(question_stems(question, LANGUAGES))], index.SPARSE, {}, limit, expr=READERS),
        ]
        found = self._client.hybrid_search(
            self._collection, legs, RRFRanker(RRF_K), limit=limit, output_fields=FIELDS, timeout=TIMEOUT_SECONDS
        )
        # pymilvus decodes a row when it is read.
        return [dict(hit["entity"]) for hit in found[0][:top_k]]


@contextlib.contextmanager
def own_milvus(folder: Path) -> Iterator[str]:
    """Give the URI of a Milvus like the platform's."""
    address = free_address()
    command = parts.milvus(folder / "direct.db", address)
    with subprocess.Popen(command.argv, env={**os.environ, **command.environment}, stdout=subprocess.DEVNULL) as server:
        try:
            wait_for_port(address)
            time.sleep(1)
            yield f"http://{address}"
        finally:
            server.terminate()
