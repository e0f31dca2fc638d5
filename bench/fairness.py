"""One tenant's freshness while another brings in ten thousand documents, beside its freshness on an idle platform."""

import asyncio
import json
import os
import subprocess
import sys
import time
import uuid
from pathlib import Path

import psutil
from tandem.gateway.v1 import gateway_service_pb2 as pb
from tandem.ingest.v1 import ingest_service_pb2 as ingest_pb

from bench.platform import Platform
from bench.report import Row, quantile
from services.cli import postgres
from services.cli.home import Home

BACKFILL = 10_000
BATCH = 500
IDLE_CHANGES = 20
EVERY_SECONDS = 1.0
POLL_SECONDS = 0.05
GIVE_UP_SECONDS = 120
INDEX_SECONDS = 900
P95_AT_MOST = 5.0

Metadata = tuple[tuple[str, str], ...]


async def measure(platform: Platform) -> list[Row]:
    """Return the quiet tenant's p50 and p95 of seconds from a push to the first search that finds it, in and out."""
    busy = await asyncio.to_thread(_key_of, platform.home, "busy")
    quiet = await asyncio.to_thread(_key_of, platform.home, "quiet")
    for key in (busy, quiet):
        await _create_source(platform, key)
    await _prepare(platform, quiet)
    idle = [await _seconds_until_found(platform, quiet) for _ in range(IDLE_CHANGES)]
    before = _embed_bytes(platform.home)
    started = time.perf_counter()
    running = asyncio.create_task(_backfill(platform, busy))
    fresh, peak = [], before
    while not running.done():
        fresh.append(await _seconds_until_found(platform, quiet))
        peak = max(peak, _embed_bytes(platform.home))
        await asyncio.sleep(EVERY_SECONDS)
    pushed = await running
    seconds = time.perf_counter() - started
    p95 = quantile(fresh, 0.95)
    return [
        Row("fairness: p50", "s", quantile(fresh, 0.5), quantile(idle, 0.5), note=f"{len(fresh)} changes"),
        Row("fairness: p95", "s", p95, quantile(idle, 0.95), p95, at_most=P95_AT_MOST),
        Row("fairness: worst", "s", max(fresh), max(idle)),
        Row(
            "fairness: backfill",
            "1/s",
            BACKFILL / seconds,
            note=f"pushed in {pushed:.0f} s, done in {seconds:.0f} s",
        ),
        Row("fairness: embed's memory", "MiB", peak / 2**20, before / 2**20, note="resident, at most and before"),
    ]


async def _create_source(platform: Platform, key: Metadata) -> None:
    request = ingest_pb.CreateSourceRequest(name="push", kind="push", push=ingest_pb.PushConfig(), readers=["everyone"])
    await platform.ingest.CreateSource(request, metadata=key)


async def _prepare(platform: Platform, key: Metadata) -> None:
    """Index a first document: it makes the tenant's collection, which is no part of freshness."""
    request = ingest_pb.PushDocumentsRequest(source="push", documents=[_document("first", "# First\n\nIt is here.\n")])
    await platform.ingest.PushDocuments(request, metadata=key)
    await _until_indexed(platform, key, 1)


async def _backfill(platform: Platform, key: Metadata) -> float:
    """Push all, and wait until all is indexed; return how long the pushing took."""
    started = time.perf_counter()
    for first in range(0, BACKFILL, BATCH):
        documents = [_document(f"backfill-{number:05}", _text(number)) for number in range(first, first + BATCH)]
        request = ingest_pb.PushDocumentsRequest(source="push", documents=documents)
        await platform.ingest.PushDocuments(request, metadata=key)
    pushed = time.perf_counter() - started
    await _until_indexed(platform, key, BACKFILL)
    return pushed


async def _until_indexed(platform: Platform, key: Metadata, documents: int) -> None:
    request = ingest_pb.GetSourceRequest(source="push")
    async with asyncio.timeout(INDEX_SECONDS):
        while True:
            counts = (await platform.ingest.GetSource(request, metadata=key)).source.counts
            if counts.indexed + counts.failed >= documents:
                return
            await asyncio.sleep(1)


async def _seconds_until_found(platform: Platform, key: Metadata) -> float:
    token = uuid.uuid4().hex
    pushed = time.perf_counter()
    document = _document(token, f"# Note {token}\n\nThe code of this note is {token}.\n")
    await platform.ingest.PushDocuments(
        ingest_pb.PushDocumentsRequest(source="push", documents=[document]), metadata=key
    )
    while time.perf_counter() - pushed < GIVE_UP_SECONDS:
        request = pb.SearchRequest(query=f"code of the note {token}", top_k=3)
        answer = await platform.gateway.Search(request, metadata=key)
        if any(token in passage.text for passage in answer.passages):
            return time.perf_counter() - pushed
        await asyncio.sleep(POLL_SECONDS)
    raise TimeoutError(token)


def _document(name: str, text: str) -> ingest_pb.PushedDocument:
    return ingest_pb.PushedDocument(external_id=f"{name}.md", content=text.encode())


def _text(number: int) -> str:
    return (
        f"# Order {number}\n\nOrder {number} was placed by customer {number * 7919 % 10_007} and holds "
        f"{number % 13 + 1} pieces of article {number * 104_729 % 1_009}. It leaves warehouse {number % 9} "
        f"within {number % 5 + 1} working days and costs {number * 31 % 997} euros.\n"
    )


def _key_of(home: Path, tenant: str) -> Metadata:
    """Make a tenant and a key in it, as an operator does."""
    there = Home(home)
    environment = {
        **os.environ,
        "TANDEM_IDENTITY_KEY": there.identity_key(),
        "GATEWAY_DATABASE_URL": postgres.url_of(there.data / "postgres"),
    }
    command = [sys.executable, "-m", "services.gateway.bootstrap", "--tenant", tenant, "--name", "bench"]
    made = subprocess.run(command, check=True, capture_output=True, timeout=60, env=environment)
    return (("authorization", f"Bearer {json.loads(made.stdout)['secret']}"),)


def _embed_bytes(home: Path) -> int:
    """Return the resident bytes of this platform's embed, without its parser's process."""
    cache = str(home)
    for process in psutil.process_iter(["cmdline"]):
        if (process.info["cmdline"] or [])[-2:] == ["-m", "services.embed"] and _is_of(process, cache):
            return int(process.memory_info().rss)
    return 0


def _is_of(process: psutil.Process, home: str) -> bool:
    try:
        return process.environ().get("EMBED_BLOBS", "").startswith(home)
    except psutil.Error:
        return False
