"""Reads a stream ahead of whoever uses it, so that what already waits is taken at once."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Protocol, TypeVar

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Call(Protocol[T_co]):
    """A gRPC call whose answer is a stream."""

    def __aiter__(self) -> AsyncIterator[T_co]: ...

    def cancel(self) -> bool: ...


@contextlib.contextmanager
def reading_ahead(call: Call[T]) -> Iterator[AsyncIterator[list[T]]]:
    """Give what the call brings, in batches of all that came since the last; cancel it when left.

    A slow reader gets fewer and larger batches. The batches raise what the call ends with.
    """
    waiting: list[T] = []
    arrived = asyncio.Event()
    reading = asyncio.create_task(_read(call, waiting, arrived))
    try:
        yield _batches(waiting, arrived, reading)
    finally:
        call.cancel()
        reading.cancel()
        reading.add_done_callback(_look)


async def _read(call: Call[T], waiting: list[T], arrived: asyncio.Event) -> None:
    try:
        async for message in call:
            waiting.append(message)
            arrived.set()
    finally:
        arrived.set()


async def _batches(waiting: list[T], arrived: asyncio.Event, reading: asyncio.Task[None]) -> AsyncIterator[list[T]]:
    while waiting or not reading.done():
        await arrived.wait()
        arrived.clear()
        if waiting:
            batch = waiting.copy()
            waiting.clear()
            yield batch
    await reading


def _look(reading: asyncio.Task[None]) -> None:
    """Take note of an error that nobody waits for any more, or asyncio complains of it."""
    if not reading.cancelled():
        reading.exception()
