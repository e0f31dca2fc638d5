"""What happens around every RPC: identity, role, errors to statuses, one span, one metric, one log line."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import grpc
import structlog
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2
from opentelemetry.trace import SpanKind

from services.common.access import Role, check_role, required_role
from services.common.errors import InvalidArgument, ServiceError
from services.common.identity import METADATA_KEY, Identity, IdentityMissing, set_caller
from services.common.telemetry import RPC_FINISHED, RPC_SECONDS, extract, spanned, trace_id

DOMAIN = "tandem"
DETAILS_KEY = "grpc-status-details-bin"

# Anybody may ask these whether a service is alive and what it offers.
OPEN_SERVICES = ("/grpc.health.v1.", "/grpc.reflection.")

# Turns an RPC's metadata into the identity it acts for, or raises Unauthenticated.
Authenticate = Callable[[dict[str, str | bytes]], Awaitable[Identity]]


@dataclass(frozen=True, slots=True)
class Call:
    """A call whose caller is known, with its request as it came."""

    rpc: str
    identity: Identity
    request: bytes


# Is told of each call of a known caller, and how it ends, before any of its answer leaves. What it
# raises, the caller gets instead.
Witness = Callable[[Call, grpc.StatusCode], Awaitable[None]]


async def no_witness(call: Call, code: grpc.StatusCode) -> None:
    """Take no notice of a call."""


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

    def __init__(self, authenticate: Authenticate, witness: Witness = no_witness) -> None:
        self._authenticate = authenticate
        self._witness = witness
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
            async with self._around(method, role, context, request):
                return await handler.unary_unary(read(request), context)

        return grpc.unary_unary_rpc_method_handler(call, None, handler.response_serializer)

    def _streaming(self, method: str, handler: Any) -> Any:
        role, read = required_role(method), _reader(handler)

        async def call(request: bytes, context: Any) -> AsyncIterator[Any]:
            async with (
                self._around(method, role, context, request) as told,
                contextlib.aclosing(handler.unary_stream(read(request), context)) as responses,
            ):
                async for response in responses:
                    await told.of(grpc.StatusCode.OK)
                    yield response

        return grpc.unary_stream_rpc_method_handler(call, None, handler.response_serializer)

    @contextlib.asynccontextmanager
    async def _around(self, method: str, role: Role, context: Any, request: bytes) -> AsyncIterator["_Told"]:
        metadata = dict(context.invocation_metadata() or ())
        parent = extract({key: value for key, value in metadata.items() if isinstance(value, str)})
        outcome = _Outcome(method)
        with spanned(method[1:], parent, kind=SpanKind.SERVER):
            try:
                identity = await self._authenticate(metadata)
                async with _telling(self._witness, Call(method, identity, request), context) as told:
                    check_role(identity.roles, role)
                    set_caller(identity)
                    yield told
            except BaseException as error:
                outcome.failed(error, context)
                if isinstance(error, Exception) and not isinstance(error, grpc.aio.AbortError):
                    await _abort(method, context, error)
                raise
            finally:
                outcome.record()


class _Told:
    """Tells the witness of a call, once."""

    def __init__(self, witness: Witness, call: Call) -> None:
        self._witness = witness
        self._call = call
        self._told = False

    async def of(self, code: grpc.StatusCode) -> None:
        if not self._told:
            self._told = True
            await self._witness(self._call, code)


@contextlib.asynccontextmanager
async def _telling(witness: Witness, call: Call, context: Any) -> AsyncIterator[_Told]:
    """Tell the witness how what is done here ends, unless it was told before."""
    told = _Told(witness, call)
    try:
        yield told
    except BaseException as error:
        await told.of(_code_of(error, context))
        raise
    await told.of(grpc.StatusCode.OK)


def _code_of(error: BaseException, context: Any) -> grpc.StatusCode:
    match error:
        case ServiceError():
            return error.code
        case grpc.aio.AioRpcError():
            return error.code()
        case asyncio.CancelledError() | GeneratorExit():
            return grpc.StatusCode.CANCELLED
        case grpc.aio.AbortError():
            return grpc.StatusCode(context.code() or grpc.StatusCode.UNKNOWN)
    return grpc.StatusCode.INTERNAL


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
        self._code = _code_of(error, context)
        self._reason = error.reason if isinstance(error, ServiceError) else type(error).__name__

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
