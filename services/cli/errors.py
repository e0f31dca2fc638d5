"""What the command says when it cannot do what was asked: one line, a stable reason, and facts."""

from typing import Any

import grpc
from google.rpc import error_details_pb2, status_pb2

DETAILS_KEY = "grpc-status-details-bin"


class Failure(Exception):
    """Ends a verb with exit code 1; the message is for people, the reason for programs."""

    reason = "FAILED"

    def __init__(self, message: str, reason: str = "", **facts: Any) -> None:
        super().__init__(message)
        self.reason = reason or self.reason
        self.facts = facts

    def as_json(self) -> dict[str, Any]:
        """Return the object that --json prints."""
        return {"error": {"reason": self.reason, "message": str(self), "facts": self.facts}}


class NotReachable(Failure):
    """No gateway answers at the address."""

    reason = "NOT_REACHABLE"


class NotTrusted(Failure):
    """What answers at the gateway's address cannot prove that it is the gateway."""

    reason = "NOT_TRUSTED"


def failure_of(error: grpc.RpcError, address: str) -> Failure:
    """Return what a failed call to the gateway at `address` means."""
    code, details = error.code(), error.details() or ""
    info = _error_info(error)
    if info is not None:
        return Failure(details, info.reason, code=code.name, **info.metadata)
    # The services behind the gateway always say why; without that, the gateway itself was not there.
    if code is grpc.StatusCode.UNAVAILABLE and "handshake failed" in details:
        return NotTrusted(
            f"what answers at {address} does not speak TLS, or is certified by nobody trusted here:"
            " name its authority with --authority",
            address=address,
        )
    if code is grpc.StatusCode.UNAVAILABLE:
        return NotReachable(f"no platform answers at {address}: start one with `tandem up`", address=address)
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return Failure("the time given with --timeout was not enough", code.name, code=code.name)
    return Failure(details or code.name.lower().replace("_", " "), code.name, code=code.name)


def _error_info(error: grpc.RpcError) -> error_details_pb2.ErrorInfo | None:
    metadata: Any = error.trailing_metadata()
    for key, value in metadata or ():
        if key == DETAILS_KEY:
            for detail in status_pb2.Status.FromString(value).details:
                info = error_details_pb2.ErrorInfo()
                if detail.Unpack(info):
                    return info
    return None
