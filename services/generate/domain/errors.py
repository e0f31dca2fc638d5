"""What a caller may be told has gone wrong."""

from services.common.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unavailable,
)


class InvalidSampling(InvalidArgument):
    """No tokens can be drawn like that."""

    reason = "INVALID_SAMPLING"


class InvalidCompletions(InvalidArgument):
    """There are none to score, too many, or one that is empty or too long."""

    reason = "INVALID_COMPLETIONS"


class AdapterNotFound(NotFound):
    """The tenant has no such adapter, or the URI holds none."""

    reason = "ADAPTER_NOT_FOUND"


class AdapterNotPermitted(PermissionDenied):
    """The adapter learnt from what the caller may not read."""

    reason = "ADAPTER_NOT_PERMITTED"


class AdapterNotReady(Unavailable):
    """The alias's adapter is not loaded on this replica yet."""

    reason = "ADAPTER_NOT_READY"
    retry_seconds = 1.0


class NotConverged(Unavailable):
    """What aliases point at is still being read and loaded."""

    reason = "NOT_CONVERGED"


class AdapterNameTaken(AlreadyExists):
    """An alias has the name; what was loaded under it would never answer."""

    reason = "ADAPTER_NAME_TAKEN"


class ProbeFailed(FailedPrecondition):
    """The engine answers otherwise with the adapter than where it was trained."""

    reason = "PROBE_FAILED"


class StoreUnavailable(Unavailable):
    """The database did not answer; nothing is known to be kept."""

    reason = "STORE_UNAVAILABLE"


class TooManyAdapters(ResourceExhausted):
    """The engine holds as many adapters as it can."""

    reason = "TOO_MANY_ADAPTERS"


class EngineBusy(ResourceExhausted):
    """As many requests wait as the server admits."""

    reason = "ENGINE_BUSY"
    retry_seconds = 1.0


class EngineDead(Unavailable):
    """The engine has stopped; the process ends, to be started again."""

    reason = "ENGINE_DEAD"
