"""Tells whoever watches a canary of answers that broke off under an alias by the platform's own fault."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import grpc
from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2, status_pb2
from tandem.generate.v1.events_pb2 import AnswerFailed

from services.common.errors import ServiceError
from services.common.interceptors import DETAILS_KEY
from services.gateway.ports import InteractionLog
from services.gateway.servicer.answer import Answer, Asked

# What is the caller's doing, or nobody's: the call was given up, or its time was over.
_NOT_OURS = {
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.UNAUTHENTICATED,
}


@dataclass(frozen=True, slots=True)
class _Fault:
    """Why an answer broke off, and what the engine said of whom it concerns."""

    reason: str
    facts: Mapping[str, str] = field(default_factory=dict)


@contextlib.contextmanager
def failures_told(log: InteractionLog, asked: Asked, answer: Answer) -> Iterator[None]:
    """Record an answer that fails under an alias; its caller is told at once, and nobody waits for the record.

    What somebody tried out by an override says nothing of whom conversations get.
    """
    try:
        yield
    except (ServiceError, grpc.aio.AioRpcError) as error:
        fault = _fault_of(error)
        if fault and not asked.overridden and (failed := _failed(fault, asked, answer)):
            log.fail(failed.tenant_id, failed.conversation_id, failed.SerializeToString())
        raise


def _failed(fault: _Fault, asked: Asked, answer: Answer) -> AnswerFailed | None:
    """Return the record; None where no alias is concerned, as far as is known."""
    started, facts = answer.started, fault.facts
    failed = AnswerFailed(
        tenant_id=asked.caller.identity.tenant_id,
        conversation_id=asked.conversation_id,
        alias=started.adapter_alias or facts.get("alias", ""),
        adapter_digest=started.adapter_digest or facts.get("adapter_digest", ""),
        canary_id=started.canary_id or facts.get("canary_id", ""),
        canary=started.canary or facts.get("canary") == "true",
        reason=fault.reason,
        failed_at=Timestamp(),
    )
    failed.failed_at.GetCurrentTime()
    return failed if failed.alias else None


def _fault_of(error: ServiceError | grpc.aio.AioRpcError) -> _Fault | None:
    """Return the platform's fault; None where it is not the platform's."""
    code = error.code if isinstance(error, ServiceError) else error.code()
    if code in _NOT_OURS:
        return None
    if isinstance(error, ServiceError):
        return _Fault(error.reason)
    info = _info_of(error)
    return _Fault(info.reason, dict(info.metadata)) if info else _Fault(error.code().name)


def _info_of(error: grpc.aio.AioRpcError) -> error_details_pb2.ErrorInfo | None:
    for key, value in error.trailing_metadata() or ():
        if key != DETAILS_KEY or not isinstance(value, bytes):
            continue
        info = error_details_pb2.ErrorInfo()
        with contextlib.suppress(DecodeError):
            if any(detail.Unpack(info) for detail in status_pb2.Status.FromString(value).details):
                return info
    return None
