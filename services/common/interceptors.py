"""What happens around every RPC: identity, role, errors to statuses, one span, one metric, one log line."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import structlog
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2
from opentelemetry.trace import SpanKind

from services.common.access import Role, check_role, required_role
from services.common.errors import InvalidArgument, ServiceError
from services.common.identity import METADATA_KEY, Identity, IdentityMissing, set_caller
from services.common.telemetry import RPC_FINISHED, RPC_SECONDS, extract, trace_id, tracer

DOMAIN = "tandem"
DETAILS_KEY = "grpc-status-details-bin"

# Anybody may ask these whether a service is alive and what it offers.
OPEN_SERVICES = ("/grpc.health.v1.", "/grpc.reflection.")

# Turns an RPC's metadata into the identity it acts for, or raises Unauthenticated.
Authenticate = Callable[[dict[str, str | bytes]], Awaitable[Identity]]

_HIDDEN = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN}

log = structlog.get_logger()


class MalformedRequest(InvalidArgument):
    """The request's bytes are not the message that the RPC takes."""

    reason = "MALFORMED_REQUEST"


def signed_by(verify: Callable[[bytes], Identity]) -> Authenticate:
    """Return an Authenticate that trusts only identities signed inside the platform."""

    async def authenticate(metadata: dict[str, str | bytes]) -> Identity:
        token = metadata.get(METADATA_KEY)
        if not isinstance(token, bytes):
            raise IdentityMissing("the call carries no identity")
        return verify(token)

    return authenticate


def details_of(error: ServiceError) -> bytes:
    """Return the google.rpc.Status with the error's ErrorInfo, and RetryInfo where it has one."""
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=error.facts)
    details = [_packed(info)]
    if error.retry_seconds is not None:
        delay = duration_pb2.Duration(nanos=0)
        delay.FromNanoseconds(int(error.retry_seconds * 1e9))
        details.append(_packed(error_details_pb2.RetryInfo(retry_delay=delay)))
    code: int = error.code.value[0]
    return bytes(status_pb2.Status(code=code, message=str(error), details=details).SerializeToString())


def _packed(message: Any) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)
    return packed


class RpcInterceptor(grpc.aio.ServerInterceptor):
    """Wraps every RPC of a server, of one request each; the open services pass untouched.

    An RPC that names no role is not served.
    """

    def __init__(self, authenticate: Authenticate) -> None:
        self._authenticate = authenticate
        self._wrapped: dict[str, Any] = {}

    async def intercept_service(
        self, continuation: Callable[..., Awaitable[Any]], details: grpc.HandlerCallDetails
    ) -> Any:
        # A server's handlers are the same in every call: each is wrapped once.
        if wrapped := self._wrapped.get(details.method):
            return wrapped
        handler = await continuation(details)
        if handler is None or details.method.startswith(OPEN_SERVICES):
            return handler
        wrap = self._streaming if handler.response_streaming else self._unary
        self._wrapped[details.method] = wrap(details.method, handler)
        return self._wrapped[details.method]

    def _unary(self, method: str, handler: Any) -> Any:
        role, read = required_role(method), _reader(handler)

        async def call(request: bytes, context: Any) -> Any:
            async with self._around(method, role, context):
                return await handler.unary_unary(read(request), context)

        return grpc.unary_unary_rpc_method_handler(call, None, handler.response_serializer)

    def _streaming(self, method: str, handler: Any) -> Any:
        role, read = required_role(method), _reader(handler)

        async def call(request: bytes, context: Any) -> AsyncIterator[Any]:
            async with (
                self._around(method, role, context),
                contextlib.aclosing(handler.unary_stream(read(request), context)) as responses,
            ):
                async for response in responses:
                    yield response

        return grpc.unary_stream_rpc_method_handler(call, None, handler.response_serializer)

    @contextlib.asynccontextmanager
    async def _around(self, method: str, role: Role, context: Any) -> AsyncIterator[None]:
        metadata = dict(context.invocation_metadata() or ())
        parent = extract({key: value for key, value in metadata.items() if isinstance(value, str)})
        outcome = _Outcome(method)
        with tracer.start_as_current_span(method[1:], parent, SpanKind.SERVER):
            try:
                identity = await self._authenticate(metadata)
                check_role(identity.roles, role)
                set_caller(identity)
                yield
            except BaseException as error:
                outcome.failed(error, context)
                if isinstance(error, Exception) and not isinstance(error, grpc.aio.AbortError):
                    await _abort(method, context, error)
                raise
            finally:
                outcome.record()


def _reader(handler: Any) -> Callable[[bytes], Any]:
    """Return what reads a handler's request, once its caller is known."""
    deserialize = handler.request_deserializer or bytes

    def read(request: bytes) -> Any:
        try:
            return deserialize(request)
        except Exception as error:
            raise MalformedRequest("the request is not the message that this call takes") from error

    return read


async def _abort(method: str, context: Any, error: Exception) -> None:
    """End the call with the status that `error` stands for; what is unknown shows nothing of itself."""
    if isinstance(error, ServiceError):
        await context.abort(error.code, str(error), ((DETAILS_KEY, details_of(error)),))
    if isinstance(error, grpc.aio.AioRpcError) and error.code() not in _HIDDEN:
        details = tuple((key, value) for key, value in error.trailing_metadata() or () if key == DETAILS_KEY)
        await context.abort(error.code(), error.details() or "", details)
    log.error("unexpected_error", rpc=method, exc_info=error)
    await context.abort(grpc.StatusCode.INTERNAL, "internal error")


class _Outcome:
    """How one RPC ended, for its metric and its log line."""

    def __init__(self, method: str) -> None:
        self._method = method
        self._started = time.perf_counter()
        self._code = grpc.StatusCode.OK
        self._reason = ""

    def failed(self, error: BaseException, context: Any) -> None:
        self._code, self._reason = grpc.StatusCode.INTERNAL, type(error).__name__
        match error:
            case ServiceError():
                self._code, self._reason = error.code, error.reason
            case grpc.aio.AioRpcError():
                self._code = error.code()
            case asyncio.CancelledError() | GeneratorExit():
                self._code = grpc.StatusCode.CANCELLED
            case grpc.aio.AbortError():
                self._code = context.code() or grpc.StatusCode.UNKNOWN

    def record(self) -> None:
        seconds = time.perf_counter() - self._started
        RPC_SECONDS.labels(self._method, self._code.name).observe(seconds)
        log.info(
            RPC_FINISHED,
            rpc=self._method,
            code=self._code.name,
            reason=self._reason,
            ms=round(seconds * 1000, 2),
            trace_id=trace_id(),
        )
