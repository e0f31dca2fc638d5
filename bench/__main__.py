"""Runs the benchmarks: `python -m bench [ROWS …]`; the rows are in ALL."""

import asyncio
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import uvloop
from rich.console import Console

from bench import checks, corpus, engine, fairness, freshness, ingest, revocation, search, streams, swap
from bench.direct import Direct, float32_encoder, platform_encoder
from bench.platform import Platform, running
from bench.report import Row, show, write
from services.cli import models
from services.common.index import collection_of

DOCUMENTS = 300
ENGINE_DOCUMENTS = 200
RESULT = Path("build/bench.json")
ALL = ("ingest", "freshness", "search", "checks", "revocation", "fairness", "streams", "engine", "swap")

console = Console(width=150)


async def main(wanted: Sequence[str]) -> None:
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="tandem-bench-") as folder:
        scratch = Path(folder)
        if set(wanted) - {"engine", "swap"}:
            async with running(scratch / "memory", "memory") as platform:
                rows += await _before_the_engine(platform, scratch, wanted)
        if {"engine", "swap"} & set(wanted):
            async with running(scratch / "vllm", "vllm") as platform:
                rows += await _on_the_engine(platform, scratch, wanted)
    write(rows, RESULT)
    show(rows, console)
    console.print(f"written to {RESULT}")


async def _before_the_engine(platform: Platform, scratch: Path, wanted: Sequence[str]) -> list[Row]:
    documents = corpus.load(DOCUMENTS)
    rows: list[Row] = []
    if "ingest" in wanted or "search" in wanted:
        console.print(f"ingest: {len(documents.texts)} documents of {documents.name}")
        rows += await ingest.measure(platform, documents, scratch)
    if "freshness" in wanted:
        console.print("freshness")
        rows += await freshness.measure(platform, scratch / "fresh")
    if "search" in wanted:
        console.print("search")
        rows += await search.measure(platform, *await asyncio.to_thread(_directs, platform), documents.questions)
    if "checks" in wanted:
        console.print("what the checks of a search cost")
        rows += await checks.measure(platform, documents.texts, documents.questions)
    if "revocation" in wanted:
        console.print("revocations")
        rows += await revocation.measure(platform)
    if "fairness" in wanted:
        console.print("fairness: one tenant's changes while another brings in 10,000 documents")
        rows += await fairness.measure(platform)
    if "streams" in wanted:
        console.print("streams before an instant engine")
        rows += await streams.measure(platform)
    return rows


async def _on_the_engine(platform: Platform, scratch: Path, wanted: Sequence[str]) -> list[Row]:
    rows: list[Row] = []
    if "engine" in wanted:
        console.print("the real engine")
        rows += await _asking(platform, scratch)
    if "swap" in wanted:
        console.print("aliases that move on the real engine")
        rows += await swap.measure(platform)
    return rows


async def _asking(platform: Platform, scratch: Path) -> list[Row]:
    documents = corpus.load(ENGINE_DOCUMENTS)
    folder = scratch / "known"
    folder.mkdir()
    for number, text in enumerate(documents.texts):
        (folder / f"{number:05}.md").write_text(text)
    await platform.add_folder(folder, watch=False)
    return await engine.measure(platform, documents.questions)


def _directs(platform: Platform) -> tuple[Direct, Direct]:
    """Return the searches on the platform's own collection: with its backend, and with plain float32."""
    collection = collection_of("default", models.EMBEDDING_NAME)
    cache = platform.home / "cache" / "embed"
    return (
        Direct(platform.milvus_uri, collection, platform_encoder(cache)),
        Direct(platform.milvus_uri, collection, float32_encoder()),
    )


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1:] or ALL))
