"""A channel whose certificates rotate: calls go out on a new connection once the files have changed.

Python's gRPC cannot reload a client's certificates (github.com/grpc/grpc/issues/41779), so that a channel of
its own is opened for each version of them.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Self

import grpc

from services.common.certificates import Certificates

# A call that was just begun is not known to its channel before the loop has turned.
SETTLE_SECONDS = 1.0
# Every call ends by its deadline; this is more than any has.
DRAIN_SECONDS = 3600.0


class RotatingChannel(grpc.aio.Channel):
    """The newest channel that `connect` makes of what `current` gives; calls in flight end on the one they are on."""

    def __init__(
        self, current: Callable[[], Certificates], connect: Callable[[Certificates], grpc.aio.Channel]
    ) -> None:
        self._certificates = current
        self._connect = connect
        self._made_of = current()
        self._channel = connect(self._made_of)
        self._draining: set[asyncio.Task[None]] = set()

    @property
    def newest(self) -> grpc.aio.Channel:
        """Return the channel to begin a call on."""
        certificates = self._certificates()
        if certificates is not self._made_of:
            old, self._made_of, self._channel = self._channel, certificates, self._connect(certificates)
            draining = asyncio.get_running_loop().create_task(_drain(old))
            self._draining.add(draining)
            draining.add_done_callback(self._draining.discard)
        return self._channel

    def unary_unary(self, method: str, *arguments: Any, **options: Any) -> Any:
        return _Method(self, "unary_unary", method, arguments, options)

    def unary_stream(self, method: str, *arguments: Any, **options: Any) -> Any:
        return _Method(self, "unary_stream", method, arguments, options)

    def stream_unary(self, method: str, *arguments: Any, **options: Any) -> Any:
        return _Method(self, "stream_unary", method, arguments, options)

    def stream_stream(self, method: str, *arguments: Any, **options: Any) -> Any:
        return _Method(self, "stream_stream", method, arguments, options)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:  # noqa: FBT001, FBT002 - gRPC's own
        return self.newest.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        await self.newest.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        await self.newest.channel_ready()

    async def close(self, grace: float | None = None) -> None:
        """Close the channel and those before it; calls in flight have `grace` seconds on the newest, none before."""
        for draining in self._draining:
            draining.cancel()
        await asyncio.gather(*self._draining, return_exceptions=True)
        await self._channel.close(grace)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class _Method:
    """One RPC, as a stub keeps it, on whichever channel is the newest when it is called."""

    def __init__(
        self, channel: RotatingChannel, kind: str, path: str, arguments: tuple[Any, ...], options: dict[str, Any]
    ) -> None:
        self._channel = channel
        self._make: Callable[[grpc.aio.Channel], Any] = lambda inner: getattr(inner, kind)(path, *arguments, **options)
        self._made_on: grpc.aio.Channel | None = None
        self._method: Any = None

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        newest = self._channel.newest
        if newest is not self._made_on:
            self._made_on, self._method = newest, self._make(newest)
        return self._method(*arguments, **options)


async def _drain(channel: grpc.aio.Channel) -> None:
    """Close a channel that takes no more calls, after those in flight."""
    try:
        await asyncio.sleep(SETTLE_SECONDS)
        await channel.close(DRAIN_SECONDS)
    finally:
        await channel.close()
