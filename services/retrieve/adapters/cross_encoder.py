"""Cross-encoders by sentence-transformers: the deployment's own, and those that tenants have trained."""

import asyncio
import contextlib
import json
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from services.common.errors import ServiceError
from services.common.faults import described
from services.common.identity import caller
from services.common.rerankers import CARD, NotACrossEncoder, Rerankers, check_cross_encoder
from services.retrieve.ports import RerankerUnavailable

# Whoever waits behind so many is answered sooner without.
MOST_WAITING = 16
# What could not be loaded is not tried again with each search.
REFUSED_SECONDS = 30.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Opened:
    """A model in memory, and whose it is; "" is everybody's."""

    model: Any
    tenant_id: str


@dataclass(frozen=True, slots=True)
class Shelf:
    """Where rerankers come from: the deployment's own ("" is none), and tenants', of which some stay in memory."""

    own: str
    tenants: Rerankers | None
    cache: Path
    tokens: int
    loaded: int


class CrossEncoderReranker:
    """A Reranker that computes one batch at a time, in one thread; what is not begun when a caller leaves never is."""

    def __init__(self, shelf: Shelf, thread: ThreadPoolExecutor, now: Callable[[], float] = time.monotonic) -> None:
        self._shelf = shelf
        self._thread = thread
        self._now = now
        self._opened: OrderedDict[str, Opened] = OrderedDict()
        self._opening: dict[str, asyncio.Task[Opened]] = {}
        self._refused: dict[str, float] = {}
        self._waiting = 0

    async def start(self) -> None:
        """Load the deployment's own, if it has one.

        Raises:
            NotACrossEncoder: it is none.
        """
        if self._shelf.own:
            await self._find("")

    async def scores(self, reranker: str, query: str, texts: Sequence[str]) -> Sequence[float]:
        opened = await self._of_caller(reranker)
        if self._waiting >= MOST_WAITING:
            raise RerankerUnavailable("too many searches wait to be reranked")
        # Slow to import, and not needed where nothing is reranked.
        from services.common.cross_encoding import scores_of  # noqa: PLC0415

        self._waiting += 1
        try:
            work = partial(scores_of, opened.model, query, list(texts))
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        finally:
            self._waiting -= 1

    async def _of_caller(self, digest: str) -> Opened:
        """Return a model that the caller's tenant may use.

        Raises:
            RerankerUnavailable: there is none of this digest, or it cannot be loaded.
        """
        try:
            opened = await self._find(digest)
        except ServiceError as error:
            raise RerankerUnavailable("the reranker cannot be loaded") from error
        if opened.tenant_id not in {"", caller().tenant_id}:
            raise RerankerUnavailable("there is no such reranker")
        return opened

    async def _find(self, digest: str) -> Opened:
        if opened := self._opened.get(digest):
            self._opened.move_to_end(digest)
            return opened
        if self._refused.get(digest, 0.0) > self._now():
            raise RerankerUnavailable("the reranker could not be loaded a moment ago")
        if digest not in self._opening:
            self._opening[digest] = asyncio.create_task(self._open(digest))
            # Why it failed is logged; perhaps nobody waits for it any more.
            self._opening[digest].add_done_callback(lambda task: task.cancelled() or task.exception())
        # A search whose time is over must not end the loading: the next ones use it.
        return await asyncio.shield(self._opening[digest])

    async def _open(self, digest: str) -> Opened:
        try:
            opened = await self._load(digest)
        except Exception as error:
            self._refused[digest] = self._now() + REFUSED_SECONDS
            log.warning("reranker_refused", reranker=digest, error=described(error))
            raise
        finally:
            del self._opening[digest]
        self._opened[digest] = opened
        self._drop_oldest()
        log.info("reranker_loaded", reranker=digest)
        return opened

    async def _load(self, digest: str) -> Opened:
        if digest and self._shelf.tenants:
            folder = await self._shelf.tenants.fetch(digest, self._shelf.cache)
        elif not digest and self._shelf.own:
            folder = await asyncio.to_thread(_folder_of, self._shelf.own)
        else:
            raise RerankerUnavailable("there is no such reranker")
        # Beside the thread that computes: searches go on with what is loaded.
        return await asyncio.to_thread(_opened, folder, self._shelf.tokens)

    def _drop_oldest(self) -> None:
        tenants = [digest for digest in self._opened if digest]
        for digest in tenants[: -self._shelf.loaded]:
            del self._opened[digest]


@contextlib.asynccontextmanager
async def open_reranker(shelf: Shelf) -> AsyncIterator[CrossEncoderReranker]:
    """Give a reranker with a thread of its own, the deployment's own model loaded.

    Raises:
        NotACrossEncoder: the deployment's own is none.
    """
    with ThreadPoolExecutor(1, "rerank") as thread:
        reranker = CrossEncoderReranker(shelf, thread)
        await reranker.start()
        yield reranker


def _folder_of(model: str) -> Path:
    """Return the folder of a model, checked: `model` itself, or where the hub's copy of that name lies."""
    folder = Path(model)
    if not folder.is_dir():
        from huggingface_hub import snapshot_download  # noqa: PLC0415 - only where a name was given

        try:
            folder = Path(snapshot_download(model))  # the deployment pins what it names  # nosec B615
        except (OSError, ValueError) as error:
            raise NotACrossEncoder("no model of this name can be had", model=model) from error
    check_cross_encoder(folder)
    return folder


def _opened(folder: Path, tokens: int) -> Opened:
    from services.common.cross_encoding import open_cross_encoder  # noqa: PLC0415 - slow, and not always needed

    card = folder / CARD
    tenant_id = str(json.loads(card.read_bytes())["tenant_id"]) if card.exists() else ""
    return Opened(open_cross_encoder(folder, tokens), tenant_id)
