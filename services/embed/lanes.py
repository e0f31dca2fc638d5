"""One model, two lanes: queries always go before documents, and tenants' documents take turns."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import numpy as np

from services.common.errors import ResourceExhausted
from services.common.identity import Identity
from services.embed.domain import InvalidVector, Vector
from services.embed.metrics import BATCH_TEXTS, EMBED_SECONDS, QUEUE_SECONDS
from services.embed.ports import Embedder
from services.embed.rotation import Rotation

QUERIES = "queries"
DOCUMENTS = "documents"

_NORM_TOLERANCE = 1e-2


class QueueFull(ResourceExhausted):
    """Too many queries wait to be embedded."""

    reason = "QUEUE_FULL"
    retry_seconds = 0.2


@dataclass(frozen=True, slots=True)
class LaneLimits:
    """How much is embedded together, and how many queries may wait."""

    query_batch: int
    query_queue: int
    batch_tokens: int


@dataclass(frozen=True, slots=True)
class Text:
    """A document's text, and its length in tokens."""

    value: str
    tokens: int


@dataclass(frozen=True, slots=True)
class _Waiting:
    text: str
    future: asyncio.Future[Vector]
    since: float


class Lanes:
    """Feeds a model from two lanes; it computes in one thread, one batch at a time.

    Models that have one `turn` take turns, batch by batch: each computes with every core.
    """

    def __init__(self, embedder: Embedder, limits: LaneLimits, turn: asyncio.Lock | None = None) -> None:
        self._embedder = embedder
        self._limits = limits
        self._turn = turn or asyncio.Lock()
        self._queries: deque[_Waiting] = deque()
        self._documents: Rotation[list[_Waiting]] = Rotation()
        self._arrived = asyncio.Event()

    async def embed_queries(self, texts: Sequence[str]) -> list[Vector]:
        """Return the vectors of `texts`, ahead of all documents.

        Raises:
            QueueFull: too many wait already.
            InvalidVector: the model gave no direction for one of them.
        """
        if len(self._queries) + len(texts) > self._limits.query_queue:
            raise QueueFull("too many queries wait to be embedded")
        waiting = [_waiting(text) for text in texts]
        self._queries.extend(waiting)
        self._arrived.set()
        return await asyncio.gather(*(item.future for item in waiting))

    async def embed_documents(self, identity: Identity, texts: Sequence[Text]) -> list[Vector | InvalidVector]:
        """Return for each text its vector, or why it has none; tenants take turns, a batch each."""
        futures: dict[int, asyncio.Future[Vector]] = {}
        for batch in _batches(texts, self._limits.batch_tokens):
            waiting = [_waiting(texts[position].value) for position in batch]
            futures.update((position, item.future) for position, item in zip(batch, waiting, strict=True))
            self._documents.add(identity.tenant_id, waiting)
            self._arrived.set()
        settled = await asyncio.gather(*(futures[position] for position in range(len(texts))), return_exceptions=True)
        return [_vector_or_fault(result) for result in settled]

    async def run(self) -> None:
        """Embed whatever arrives, for ever."""
        with ThreadPoolExecutor(1, "embed") as thread:
            while True:
                lane, batch = self._next()
                if batch:
                    await self._embed(thread, lane, batch)
                else:
                    self._arrived.clear()
                    await self._arrived.wait()

    def _next(self) -> tuple[str, list[_Waiting]]:
        if queries := self._next_queries():
            return QUERIES, queries
        while batch := self._documents.take():
            # A batch whose caller went away needs no vectors.
            if wanted := [item for item in batch if not item.future.done()]:
                return DOCUMENTS, wanted
        return DOCUMENTS, []

    def _next_queries(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        while self._queries and len(batch) < self._limits.query_batch:
            item = self._queries.popleft()
            # A caller that went away needs no vector.
            if not item.future.done():
                batch.append(item)
        return batch

    async def _embed(self, thread: ThreadPoolExecutor, lane: str, batch: Sequence[_Waiting]) -> None:
        now = time.perf_counter()
        for item in batch:
            QUEUE_SECONDS.labels(lane).observe(now - item.since)
        BATCH_TEXTS.labels(lane).observe(len(batch))
        loop = asyncio.get_running_loop()
        try:
            async with self._turn:
                with EMBED_SECONDS.labels(lane).time():
                    vectors = await loop.run_in_executor(thread, self._embedder.embed, [item.text for item in batch])
            _settle(batch, vectors)
        except Exception as error:  # noqa: BLE001 - whoever waits gets it; the lanes go on
            _fail(batch, error)


@asynccontextmanager
async def open_lanes(embedder: Embedder, limits: LaneLimits, turn: asyncio.Lock | None = None) -> AsyncIterator[Lanes]:
    """Give lanes that run."""
    lanes = Lanes(embedder, limits, turn)
    running = asyncio.create_task(lanes.run())
    try:
        yield lanes
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


def _waiting(text: str) -> _Waiting:
    return _Waiting(text, asyncio.get_running_loop().create_future(), time.perf_counter())


def _batches(texts: Sequence[Text], batch_tokens: int) -> Iterable[list[int]]:
    """Yield positions of `texts`, those of like length together: a batch costs its longest text times its size."""
    batch: list[int] = []
    for position in sorted(range(len(texts)), key=lambda position: texts[position].tokens):
        if batch and texts[position].tokens * (len(batch) + 1) > batch_tokens:
            yield batch
            batch = []
        batch.append(position)
    if batch:
        yield batch


def _settle(batch: Sequence[_Waiting], vectors: Vector) -> None:
    norms = np.linalg.norm(vectors, axis=1)
    for item, vector, norm in zip(batch, vectors, norms, strict=True):
        if item.future.done():
            continue
        if abs(norm - 1) < _NORM_TOLERANCE:
            item.future.set_result(vector)
        else:
            # Not a number fails the comparison too. The index would take either, and never find it.
            item.future.set_exception(InvalidVector("the model gave no direction for a text"))


def _fail(batch: Sequence[_Waiting], error: Exception) -> None:
    for item in batch:
        if not item.future.done():
            item.future.set_exception(error)


def _vector_or_fault(result: Vector | BaseException) -> Vector | InvalidVector:
    if isinstance(result, BaseException) and not isinstance(result, InvalidVector):
        raise result
    return result
