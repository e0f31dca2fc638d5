"""A service of bytes whose methods do what a test wants, behind the real interceptor."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool
from google.rpc import error_details_pb2, status_pb2
from tandem.common.v1 import access_pb2

from services.common.access import Role
from services.common.identity import METADATA_KEY, Identity, IdentitySigner, caller
from services.common.interceptors import DETAILS_KEY, RpcInterceptor, signed_by

KEY = b"k" * 32
SIGNER = IdentitySigner(KEY)
ADA = Identity("acme", "user:ada", ("everyone", "user:ada"), frozenset({Role.READER}))
SERVICE = "test.Echo"
KINDS = ("unary_unary", "unary_stream")


def _describe() -> None:
    """Tell protobuf of the service, as a generated module would; readers may call it."""
    file = descriptor_pb2.FileDescriptorProto(name="test/echo.proto", package="test")
    file.message_type.add(name="Bytes")
    service = file.service.add(name="Echo")
    for kind in (*KINDS, "without_role"):
        method = service.method.add(name=kind, input_type=".test.Bytes", output_type=".test.Bytes")
        if kind in KINDS:
            method.options.Extensions[access_pb2.role] = access_pb2.ROLE_READER
    descriptor_pool.Default().Add(file)


_describe()


@dataclass
class Echo:
    """Echoes after `behave` has had its turn; keeps who called and what was cancelled."""

    behave: Callable[[Any], Awaitable[None]] = lambda _context: asyncio.sleep(0)
    callers: list[Identity] = field(default_factory=list)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, request: bytes, context: Any) -> bytes:
        self.callers.append(caller())
        try:
            await self.behave(context)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return request

    async def unary_unary(self, request: bytes, context: Any) -> bytes:
        return await self.answer(request, context)

    async def unary_stream(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        yield b"first"
        yield await self.answer(request, context)

    def register(self, server: grpc.aio.Server) -> None:
        handlers = {kind: getattr(grpc, f"{kind}_rpc_method_handler")(getattr(self, kind)) for kind in KINDS}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))


@contextlib.asynccontextmanager
async def serving(echo: Echo) -> AsyncIterator[grpc.aio.Channel]:
    """Serve `echo` on a real port and give a channel to it."""
    server = grpc.aio.server(interceptors=[RpcInterceptor(signed_by(SIGNER.verify))])
    echo.register(server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel
    await server.stop(None)


def signed(identity: Identity = ADA, signer: IdentitySigner = SIGNER) -> tuple[tuple[str, bytes], ...]:
    """Return the metadata of a call as `identity`."""
    return ((METADATA_KEY, signer.sign(identity)),)


def begin(channel: grpc.aio.Channel, kind: str, metadata=None, request: bytes = b"hi", timeout: float = 10) -> Any:
    """Start a call of one kind of method."""
    method = getattr(channel, kind)(f"/{SERVICE}/{kind}")
    return method(request, metadata=signed() if metadata is None else metadata, timeout=timeout)


async def call(channel: grpc.aio.Channel, kind: str, metadata=None, request: bytes = b"hi") -> list[bytes]:
    """Call one kind of method and return all that came."""
    started = begin(channel, kind, metadata, request)
    if kind == "unary_stream":
        return [one async for one in started]
    return [await started]


def status_of(error: grpc.aio.AioRpcError) -> status_pb2.Status:
    """Return the google.rpc.Status that an error brought."""
    return status_pb2.Status.FromString(dict(error.trailing_metadata())[DETAILS_KEY])


def info_of(error: grpc.aio.AioRpcError) -> error_details_pb2.ErrorInfo:
    """Return the ErrorInfo that an error brought."""
    info = error_details_pb2.ErrorInfo()
    assert status_of(error).details[0].Unpack(info)
    return info
