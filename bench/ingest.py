"""Documents and chunks a second through the whole platform, beside a plain loop in one process."""

import asyncio
import time
from pathlib import Path

from bench.corpus import Corpus
from bench.direct import Direct, float32_encoder, own_milvus
from bench.platform import Platform
from bench.report import Row

AT_LEAST = 2.0
REFERENCE_DOCUMENTS = 200
DIMENSIONS = 384


async def measure(platform: Platform, corpus: Corpus, scratch: Path) -> list[Row]:
    """Ingest the corpus as a folder of files; return documents and chunks a second beside the plain loop's."""
    folder = scratch / corpus.name
    folder.mkdir()
    paths = [folder / f"{number:05}.md" for number in range(len(corpus.texts))]
    for path, text in zip(paths, corpus.texts, strict=True):
        path.write_text(text)
    documents, chunks = await asyncio.to_thread(_plain_loop, paths[:REFERENCE_DOCUMENTS], scratch)
    started = time.perf_counter()
    indexed, made = await platform.add_folder(folder, watch=False)
    seconds = time.perf_counter() - started
    return [
        Row("ingest: documents", "1/s", indexed / seconds, documents, indexed / seconds / documents, at_least=AT_LEAST),
        Row("ingest: chunks", "1/s", made / seconds, chunks, made / seconds / chunks, at_least=AT_LEAST),
    ]


def _plain_loop(paths: list[Path], scratch: Path) -> tuple[float, float]:
    """Return documents and chunks a second of the loop, which needs no start-up counted."""
    with own_milvus(scratch) as uri:
        direct = Direct(uri, "plain", float32_encoder())
        direct.create(DIMENSIONS)
        direct.ingest(paths[0])
        started = time.perf_counter()
        chunks = sum(direct.ingest(path) for path in paths)
        seconds = time.perf_counter() - started
    return len(paths) / seconds, chunks / seconds
