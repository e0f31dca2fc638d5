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
from tandem.ingest.v1.events_pb2 import Chunking
from tandem.retrieve.v1 import retrieve_service_pb2 as retrieve_pb
from tandem.retrieve.v1 import tuning_service_pb2 as tuning_pb

from bench.platform import Platform, running
from bench.quality.sets import Document

SOURCE = "set"
A_PUSH = 200
A_PAGE = 500
SEARCHES_AT_ONCE = 4
SECONDS = 30.0
INDEX_SECONDS = 3600.0
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


@dataclass(frozen=True, slots=True)
class Place:
    """Where a platform keeps what it knows, under which code, and how it is set up."""

    home: Path
    code: str
    engine: str = "memory"
    environment: Mapping[str, str] = field(default_factory=dict)
    # How documents are cut; empty leaves that to their kind.
    strategy: str = ""


@contextlib.asynccontextmanager
async def indexed(place: Place, documents: Sequence[Document]) -> AsyncIterator[Indexed]:
    """Start a platform with a set's documents in its tenant, alone there: words are weighed by tenant.

    A home that the same code filled before is used again.
    """
    _made_for(place)
    models = {"TANDEM_CACHE": str(place.home.parent / "models")}
    async with running(place.home, place.engine, models | dict(place.environment)) as platform:
        names, chunks = await _filled(platform, documents, place.strategy)
        yield Indexed(platform, names, chunks)


def _made_for(place: Place) -> None:
    mark = place.home / MARK
    if place.home.exists() and (not mark.is_file() or mark.read_text() != place.code):
        shutil.rmtree(place.home)
    place.home.mkdir(parents=True, exist_ok=True)
    mark.write_text(place.code)


async def _filled(platform: Platform, documents: Sequence[Document], strategy: str) -> tuple[dict[str, str], int]:
    """Push what is not there yet, wait until it is searchable; return the set's ids, and how many chunks there are."""
    chunking = Chunking(strategy=strategy) if strategy else None
    source = ingest_pb.CreateSourceRequest(
        name=SOURCE, kind="push", push=ingest_pb.PushConfig(), readers=["everyone"], chunking=chunking
    )
    try:
        await platform.ingest.CreateSource(source, metadata=platform.metadata, timeout=SECONDS)
    except grpc.aio.AioRpcError as error:
        # The home was filled before.
        if error.code() is not grpc.StatusCode.ALREADY_EXISTS:
            raise
    known = {document.external_id for document in await _listed(platform)}
    missing = [document for document in documents if document.id not in known]
    for start in range(0, len(missing), A_PUSH):
        await _push(platform, missing[start : start + A_PUSH])
    _, chunks = await platform.until_indexed(SOURCE, len(documents), INDEX_SECONDS)
    listed = await _listed(platform)
    failed = [document.failure_reason for document in listed if document.failure_reason]
    if failed:
        raise LookupError(f"{len(failed)} documents could not be indexed: {failed[0]}")
    return {document.document_id: document.external_id for document in listed}, chunks


async def _push(platform: Platform, documents: Sequence[Document]) -> None:
    pushed = [
        ingest_pb.PushedDocument(
            external_id=each.id, title=each.title, media_type=each.media_type, content=each.content
        )
        for each in documents
    ]
    request = ingest_pb.PushDocumentsRequest(source=SOURCE, documents=pushed)
    await platform.ingest.PushDocuments(request, metadata=platform.metadata, timeout=SECONDS)


async def _listed(platform: Platform) -> list[ingest_pb.Document]:
    documents: list[ingest_pb.Document] = []
    token = ""
    while True:
        request = ingest_pb.ListDocumentsRequest(source=SOURCE, page_size=A_PAGE, page_token=token)
        page = await platform.ingest.ListDocuments(request, metadata=platform.metadata, timeout=SECONDS)
        documents.extend(page.documents)
        token = page.next_page_token
        if not token:
            return documents
