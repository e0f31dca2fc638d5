"""Runs a gRPC server, with health, reflection and metrics, until the process is told to stop."""

import asyncio
import gc
import os
import signal
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
import structlog
import uvloop
from google.protobuf import descriptor_pool
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from services.common.access import required_role
from services.common.faults import described
from services.common.interceptors import Authenticate, RpcInterceptor, Witness, no_witness
from services.common.transport import LOOPBACK, Transport

GRACE_SECONDS = 5.0
READY_POLL_SECONDS = 0.2
MAX_MESSAGE_BYTES = 40 * 1024 * 1024
# Objects made between two looks for garbage; Python's own 700 is a look every few calls.
COLLECT_AFTER = 20_000

# An identity carries all its principals; some people are in thousands of groups.
MAX_METADATA_BYTES = 1024 * 1024

OPTIONS = (
    ("grpc.max_metadata_size", MAX_METADATA_BYTES),
    ("grpc.absolute_max_metadata_size", MAX_METADATA_BYTES),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.so_reuseport", 0),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 5000),
)

Ping = Callable[[], Awaitable[None]]
Task = Callable[[], Coroutine[Any, Any, None]]

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Service:
    """What `serve` runs.

    `names` are full gRPC service names, for reflection. `pings` must all pass before the
    service says SERVING. `tasks` (consumers, relays) run beside the server, and end it when
    one fails. `witness` is told of every call.
    """

    address: str
    metrics_address: str
    authenticate: Authenticate
    register: Callable[[grpc.aio.Server], None]
    names: Sequence[str]
    pings: Sequence[Ping] = ()
    tasks: Sequence[Task] = ()
    witness: Witness = no_witness
    started: Callable[[int], None] = field(default=lambda _port: None)


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a service's `main` on uvloop."""
    uvloop.run(main())


async def serve(service: Service, stop: asyncio.Event | None = None, transport: Transport = LOOPBACK) -> None:
    """Serve until SIGTERM, SIGINT or `stop`; then finish the calls in flight, for 5 seconds.

    Raises:
        RoleMissing: an RPC does not say who may call it.
        PlaintextRefused: `transport` has no TLS, and an address is not on loopback.
    """
    stop = stop or stop_on_signal()
    server = grpc.aio.server(interceptors=[RpcInterceptor(service.authenticate, service.witness)], options=OPTIONS)
    status = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(status, server)
    service.register(server)
    _reflect(service.names, server)
    port = transport.listen(server, service.address)
    await status.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
    await server.start()
    metrics = transport.expose_metrics(service.metrics_address)
    tasks = asyncio.create_task(_run_beside(service, status, stop, port))
    waiting = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({tasks, waiting}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
        await status.enter_graceful_shutdown()
        await server.stop(GRACE_SECONDS)
        tasks.cancel()
        metrics()
    if tasks.done() and not tasks.cancelled():
        tasks.result()
    await asyncio.gather(tasks, return_exceptions=True)


def _reflect(names: Sequence[str], server: grpc.aio.Server) -> None:
    """Show the services to clients that ask, each of their RPCs with the role that it asks for."""
    for name in names:
        for method in descriptor_pool.Default().FindServiceByName(name).methods:
            required_role(f"/{name}/{method.name}")
    reflection.enable_server_reflection((*names, health.SERVICE_NAME, reflection.SERVICE_NAME), server)


async def _run_beside(service: Service, status: health.aio.HealthServicer, stop: asyncio.Event, port: int) -> None:
    async with asyncio.TaskGroup() as group:
        for task in service.tasks:
            group.create_task(task())
        await _until_ready(service.pings)
        _spare_collector()
        if not stop.is_set():
            await status.set("", health_pb2.HealthCheckResponse.SERVING)
            log.info("serving", port=port, pid=os.getpid())
            service.started(port)
        await stop.wait()


def _spare_collector() -> None:
    """Leave out of garbage collection what the start has made: it stays, and looking through it holds calls up."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER)


async def _until_ready(pings: Sequence[Ping]) -> None:
    for ping in pings:
        while True:
            try:
                await ping()
                break
            except Exception as error:  # noqa: BLE001 - whatever it is, we are not ready; it is logged
                log.warning("not_ready", error=described(error))
                await asyncio.sleep(READY_POLL_SECONDS)


def stop_on_signal() -> asyncio.Event:
    """Return an event that SIGINT and SIGTERM set."""
    stop = asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    return stop
