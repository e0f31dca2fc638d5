"""Asks the parts and the services whether they are ready."""

import asyncio
from collections.abc import Awaitable, Callable

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.common.transport import Transport

SECONDS = 2.0

# Returns whether the process behind it is ready for work; never raises.
Probe = Callable[[], Awaitable[bool]]


def listens(address: str) -> Probe:
    """Return a probe of a server that is ready once it takes connections."""
    host, _, port = address.rpartition(":")

    async def probe() -> bool:
        try:
            async with asyncio.timeout(SECONDS):
                _, writer = await asyncio.open_connection(host, int(port))
        except (OSError, TimeoutError):
            return False
        writer.close()
        return True

    return probe


def answers_sql(url: str) -> Probe:
    """Return a probe of a PostgreSQL, by SQLAlchemy's URL for asyncpg."""
    import asyncpg  # noqa: PLC0415 - callers of a platform elsewhere do not have it

    async def probe() -> bool:
        try:
            connection = await asyncpg.connect(url.replace("+asyncpg", ""), timeout=SECONDS)
            await connection.close()
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False
        return True

    return probe


def serves_grpc(address: str, transport: Transport) -> Probe:
    """Return a probe of a service by the gRPC health protocol."""

    async def probe() -> bool:
        async with transport.channel(address) as channel:
            try:
                answer = await health_pb2_grpc.HealthStub(channel).Check(
                    health_pb2.HealthCheckRequest(), timeout=SECONDS
                )
            except grpc.aio.AioRpcError:
                return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    return probe
