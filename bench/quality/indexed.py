"""A platform that knows one set's documents, and what it finds in them."""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from tandem.gateway.v1 import gateway_service_pb2 as pb
from tandem.ingest.v1 import ingest_service_pb2 as ingest_pb
from tandem.retrieve.v1 import retrieve_service_pb2 as retrieve_pb
from tandem.retrieve.v1 import tuning_service_pb2 as tuning_pb

from bench.platform import Platform, running
from bench.quality.sets import Text

SOURCE = "set"
A_PUSH = 200
A_PAGE = 500
SEARCHES_AT_ONCE = 4
SECONDS = 30.0
ATTEMPTS = 5
MARK = "quality"


@dataclass(frozen=True, slots=True)
class How:
    """What a search is asked for besides its words; what is left out is as the platform does it."""

    top_k: int = 30
    steps: int = 0
    widen: bool = False
    tuning: Mapping[str, object] = field(default_factory=dict)

    def request(self, text: str) -> pb.SearchRequest:
        tuning = tuning_pb.Tuning(**self.tuning) if self.tuning else None
        return pb.SearchRequest(query=text, top_k=self.top_k, steps=self.steps, widen=self.widen, tuning=tuning)


@dataclass(frozen=True, slots=True)
class Indexed:
    """A running platform, and the set's own id of each document in it."""

    platform: Platform
    names: Mapping[str, str]
    chunks: int

    async def found(self, texts: Sequence[str], how: How) -> list[list[str]]:
        """Return the documents that each search finds, best first, by the set's ids."""
        free = asyncio.Semaphore(SEARCHES_AT_ONCE)

        async def one(text: str) -> list[str]:
            async with free:
                return list(self.documents((await self.search(text, how)).passages))

        return list(await asyncio.gather(*(one(text) for text in texts)))

    async def search(self, text: str, how: How) -> pb.SearchResponse:
        """Search; again while a part of the platform is away or full."""
        for attempt in range(ATTEMPTS):
            try:
                return await self.platform.gateway.Search(
                    how.request(text), metadata=self.platform.metadata, timeout=SECONDS
                )
            except grpc.aio.AioRpcError as error:
                passing = error.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED}
                if not passing or attempt == ATTEMPTS - 1:
                    raise
                await asyncio.sleep(0.5 * 2**attempt)
        raise AssertionError("the loop returns or raises")

    def documents(self, passages: Sequence[retrieve_pb.Passage]) -> Iterator[str]:
        """Yield each passage's document, then those where nearly the same stands."""
        for passage in passages:
            yield self.names[passage.document_id]
            yield from (self.names[place.document_id] for place in passage.sources)


@contextlib.asynccontextmanager
async def indexed(
    home: Path,
    texts: Sequence[Text],
    code: str,
    *,
    engine: str = "memory",
    environment: Mapping[str, str] | None = None,
) -> AsyncIterator[Indexed]:
    """Start a platform in `home` with the documents of a set in its tenant, alone: words are weighed by tenant.

    A home that the same code filled before is used again.
    """
    _made_for(home, code)
    async with running(home, engine, {"TANDEM_CACHE": str(home.parent / "models"), **(environment or {})}) as platform:
        names, chunks = await _filled(platform, texts)
        yield Indexed(platform, names, chunks)


def _made_for(home: Path, code: str) -> None:
    mark = home / MARK
    if home.exists() and (not mark.is_file() or mark.read_text() != code):
        shutil.rmtree(home)
    home.mkdir(parents=True, exist_ok=True)
    mark.write_text(code)


async def _filled(platform: Platform, texts: Sequence[Text]) -> tuple[dict[str, str], int]:
    """Push what is not there yet, wait until it is searchable; return the set's ids, and how many chunks there are."""
    source = ingest_pb.CreateSourceRequest(
        request_id=SOURCE, name=SOURCE, kind="push", push=ingest_pb.PushConfig(), readers=["everyone"]
    )
    with contextlib.suppress(grpc.aio.AioRpcError):
        # It is there where the home was filled before; what else is wrong, the next call says.
        await platform.ingest.CreateSource(source, metadata=platform.metadata)
    known = {document.external_id for document in await _documents(platform)}
    missing = [text for text in texts if text.id not in known]
    for start in range(0, len(missing), A_PUSH):
        await _push(platform, missing[start : start + A_PUSH])
    _, chunks = await platform.until_indexed(SOURCE, len(texts))
    documents = await _documents(platform)
    failed = [document.failure_reason for document in documents if document.failure_reason]
    if failed:
        raise LookupError(f"{len(failed)} documents could not be indexed: {failed[0]}")
    return {document.document_id: document.external_id for document in documents}, chunks


async def _push(platform: Platform, texts: Sequence[Text]) -> None:
    documents = [
        ingest_pb.PushedDocument(
            external_id=text.id, title=text.title, media_type="text/markdown", content=text.markdown.encode()
        )
        for text in texts
    ]
    request = ingest_pb.PushDocumentsRequest(source=SOURCE, documents=documents)
    await platform.ingest.PushDocuments(request, metadata=platform.metadata, timeout=SECONDS)


async def _documents(platform: Platform) -> list[ingest_pb.Document]:
    documents: list[ingest_pb.Document] = []
    token = ""
    while True:
        request = ingest_pb.ListDocumentsRequest(source=SOURCE, page_size=A_PAGE, page_token=token)
        page = await platform.ingest.ListDocuments(request, metadata=platform.metadata, timeout=SECONDS)
        documents.extend(page.documents)
        token = page.next_page_token
        if not token:
            return documents
