"""Reads documents in a process of its own, which may be killed without harm."""

import asyncio
import multiprocessing
import resource
import time
from collections.abc import AsyncIterator
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from pebble import ProcessExpired, ProcessPool

from services.embed.domain import (
    Change,
    DocumentTooLarge,
    EmptyDocument,
    ParsedDocument,
    ParserCrashed,
    ParseTimeout,
)
from services.embed.metrics import PARSE_SECONDS
from services.embed.parsing.kinds import is_plain
from services.embed.parsing.plain import parse_text
from services.embed.parsing.source import Source, checked

# Parsers leak; a fresh process costs little.
DOCUMENTS_A_PROCESS = 500


@dataclass(frozen=True, slots=True)
class ParseLimits:
    """How much one document may cost."""

    max_bytes: int
    max_characters: int
    seconds: float
    memory_bytes: int


class ProcessParser:
    """Reads plain text here, and everything that can go wrong in the process."""

    def __init__(self, pool: ProcessPool, limits: ParseLimits) -> None:
        self._pool = pool
        self._limits = limits

    async def parse(self, content: bytes, change: Change) -> ParsedDocument:
        """Return the document in `content`.

        Raises:
            DocumentRejected: it can never be read.
        """
        if len(content) > self._limits.max_bytes:
            raise DocumentTooLarge(f"the file is larger than {self._limits.max_bytes} bytes")
        if not content.strip():
            raise EmptyDocument("the file is empty")
        plain = await asyncio.to_thread(is_plain, content, change.external_id, change.media_type)
        source = Source(content, change.external_id, change.media_type, self._limits.max_characters)
        with PARSE_SECONDS.labels("plain" if plain else "process").time():
            return await (asyncio.to_thread(_read_plain, source) if plain else self._read_aside(source))

    async def _read_aside(self, source: Source) -> ParsedDocument:
        future = self._pool.schedule(_read, (source,), timeout=self._limits.seconds)
        try:
            parsed: ParsedDocument = await asyncio.wrap_future(future)
        except (FutureTimeoutError, TimeoutError) as error:
            raise ParseTimeout(f"parsing took longer than {self._limits.seconds:g} seconds") from error
        except MemoryError as error:
            raise ParserCrashed("parsing needed more memory than is allowed") from error
        except ProcessExpired as error:
            raise ParserCrashed(f"the parser died with exit code {error.exitcode}") from error
        return parsed


@asynccontextmanager
async def open_parser(limits: ParseLimits) -> AsyncIterator[ProcessParser]:
    """Give a parser whose process is warm."""
    # Forked from a small server, not from here: a child must not hold the model, and starts at once.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["services.embed.parsing.reader"])
    pool = ProcessPool(
        max_workers=1,
        max_tasks=DOCUMENTS_A_PROCESS,
        initializer=_limit_memory,
        initargs=(limits.memory_bytes,),
        context=context,
    )
    try:
        await asyncio.wrap_future(pool.schedule(time.time))
        yield ProcessParser(pool, limits)
    finally:
        pool.stop()
        await asyncio.to_thread(pool.join, 5)


def _read_plain(source: Source) -> ParsedDocument:
    return checked(parse_text(source.content), source.max_characters)


def _read(source: Source) -> ParsedDocument:
    from services.embed.parsing.reader import read  # noqa: PLC0415 - only the child pays for the parsers

    return read(source)


def _limit_memory(more_bytes: int) -> None:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    limit = pages * resource.getpagesize() + more_bytes
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
