"""What a caller may be told has gone wrong."""

from services.common.errors import InvalidArgument, NotFound, PermissionDenied, ResourceExhausted, Unavailable


class EmptyQuestion(InvalidArgument):
    """Nothing printable was asked."""

    reason = "EMPTY_QUESTION"


class QuestionTooLong(InvalidArgument):
    """The question and the instructions do not fit the model together."""

    reason = "QUESTION_TOO_LONG"


class InvalidSampling(InvalidArgument):
    """No tokens can be drawn like that."""

    reason = "INVALID_SAMPLING"


class InvalidAdapter(InvalidArgument):
    """The files are no adapter that this engine can run."""

    reason = "INVALID_ADAPTER"


class InvalidAdapterName(InvalidArgument):
    """The name has characters or a length that adapters' names do not."""

    reason = "INVALID_ADAPTER_NAME"


class AdapterNotFound(NotFound):
    """The tenant has no such adapter, or the URI holds none."""

    reason = "ADAPTER_NOT_FOUND"


class AdapterNotPermitted(PermissionDenied):
    """The adapter learnt from what the caller may not read."""

    reason = "ADAPTER_NOT_PERMITTED"


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
