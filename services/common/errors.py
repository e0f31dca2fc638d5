"""Errors a service may show its callers.

* ServiceError
  x InvalidArgument      the request can never work as sent
  x Unauthenticated      no identity that can be trusted
  x PermissionDenied     the identity may not do this
  x NotFound             no such object in the caller's tenant
  x AlreadyExists        the name is taken
  x FailedPrecondition   the request may work once the system has changed
  x ResourceExhausted    too much at once; try again later
  x Unavailable          try again
"""

from typing import ClassVar

import grpc


class ServiceError(Exception):
    """An error with a gRPC code, a stable reason and facts about it.

    The message and the facts are shown to callers: they hold no secret and no text of
    a document. `retry_seconds`, where set, becomes a google.rpc.RetryInfo.
    """

    code: ClassVar[grpc.StatusCode] = grpc.StatusCode.INTERNAL
    reason: ClassVar[str] = "INTERNAL"
    retry_seconds: float | None = None

    def __init__(self, message: str, **facts: object) -> None:
        super().__init__(message)
        self.facts = {key: str(value) for key, value in facts.items()}


class InvalidArgument(ServiceError):
    """The request can never work as sent."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "INVALID_ARGUMENT"


class Unauthenticated(ServiceError):
    """No identity that can be trusted."""

    code = grpc.StatusCode.UNAUTHENTICATED
    reason = "UNAUTHENTICATED"


class PermissionDenied(ServiceError):
    """The identity may not do this."""

    code = grpc.StatusCode.PERMISSION_DENIED
    reason = "PERMISSION_DENIED"


class NotFound(ServiceError):
    """No such object in the caller's tenant."""

    code = grpc.StatusCode.NOT_FOUND
    reason = "NOT_FOUND"


class AlreadyExists(ServiceError):
    """The name is taken."""

    code = grpc.StatusCode.ALREADY_EXISTS
    reason = "ALREADY_EXISTS"


class FailedPrecondition(ServiceError):
    """The request may work once the system has changed."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "FAILED_PRECONDITION"


class ResourceExhausted(ServiceError):
    """Too much at once; try again later."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = "RESOURCE_EXHAUSTED"


class Unavailable(ServiceError):
    """Try again."""

    code = grpc.StatusCode.UNAVAILABLE
    reason = "UNAVAILABLE"
