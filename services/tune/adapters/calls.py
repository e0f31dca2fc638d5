"""How runs, which nobody waits for, call other services."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

import grpc

from services.common.client import CallOptions, Outgoing
from services.common.identity import Identity
from services.tune.domain.errors import CallRefused, ServiceUnavailable

T = TypeVar("T")

# Too much at once passes: others' questions go before a run's.
_LATER = grpc.StatusCode.RESOURCE_EXHAUSTED
_AWAY = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}
ATTEMPTS = 6
FIRST_REST_SECONDS = 0.5


class _NoCaller:
    """The context of a call that nobody waits for."""

    def time_remaining(self) -> None:
        """Return that there is no deadline."""


def options(outgoing: Outgoing, identity: Identity, seconds: float) -> CallOptions:
    """Return the options of one call as somebody, that must end within `seconds`."""
    return outgoing(identity, _NoCaller(), seconds)


async def patiently(call: Callable[[], Awaitable[T]], service: str) -> T:
    """Make a call of a run; what is too much at once or away is tried again, a little later each time.

    Raises:
        ServiceUnavailable: it does not answer.
        CallRefused: the service says no.
    """
    for attempt in range(ATTEMPTS):
        try:
            return await call()
        except grpc.aio.AioRpcError as error:
            if error.code() not in {_LATER, *_AWAY}:
                raise CallRefused(f"{service} says {error.code().name}: {error.details()}") from error
        await asyncio.sleep(FIRST_REST_SECONDS * 2**attempt)
    raise ServiceUnavailable(f"the {service} service cannot be reached", service=service)


@contextlib.contextmanager
def reaching(service: str) -> Iterator[None]:
    """Say which service is away; what it says itself passes through.

    Raises:
        ServiceUnavailable: nothing answered.
    """
    try:
        yield
    except grpc.aio.AioRpcError as error:
        if error.code() in _AWAY:
            raise ServiceUnavailable(f"the {service} service cannot be reached", service=service) from error
        raise
