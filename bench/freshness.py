"""From saving a file to finding it, on an idle platform with a watched folder."""

import asyncio
import time
import uuid
from pathlib import Path

from tandem.gateway.v1 import gateway_service_pb2 as pb

from bench.platform import Platform
from bench.report import Row, quantile

FILES = 30
POLL_SECONDS = 0.02
GIVE_UP_SECONDS = 30
P95_AT_MOST = 2.0


async def measure(platform: Platform, folder: Path) -> list[Row]:
    """Return p50 and p95 of the seconds from a file's saving to the first search that finds it."""
    folder.mkdir(parents=True)
    (folder / "first.md").write_text("# First\n\nSo that the source is there.\n")
    await platform.add_folder(folder, watch=True)
    seconds = [await _seconds_until_found(platform, folder) for _ in range(FILES)]
    return [
        Row("freshness: p50", "s", quantile(seconds, 0.5)),
        Row("freshness: p95", "s", quantile(seconds, 0.95), figure=quantile(seconds, 0.95), at_most=P95_AT_MOST),
    ]


async def _seconds_until_found(platform: Platform, folder: Path) -> float:
    token = uuid.uuid4().hex
    saved = time.perf_counter()
    (folder / f"{token}.md").write_text(f"# Note {token}\n\nThe code of this note is {token}.\n")
    while time.perf_counter() - saved < GIVE_UP_SECONDS:
        request = pb.SearchRequest(query=f"code of the note {token}", top_k=3)
        answer = await platform.gateway.Search(request, metadata=platform.metadata)
        if any(token in passage.text for passage in answer.passages):
            return time.perf_counter() - saved
        await asyncio.sleep(POLL_SECONDS)
    raise TimeoutError(token)
