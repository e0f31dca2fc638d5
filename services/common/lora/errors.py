"""Why files are no adapter."""

from services.common.errors import FailedPrecondition, InvalidArgument, Unavailable


class InvalidAdapter(InvalidArgument):
    """The files are no adapter that the engine can run."""

    reason = "INVALID_ADAPTER"


class InvalidAdapterName(InvalidArgument):
    """The name has characters or a length that adapters' names do not."""

    reason = "INVALID_ADAPTER_NAME"


class AdapterMissing(Unavailable):
    """The blob store does not hold the adapter, or cannot be reached."""

    reason = "ADAPTER_MISSING"


class AdapterAltered(FailedPrecondition):
    """The files are not those of the digest: something is cut off, changed or added."""

    reason = "ADAPTER_ALTERED"


class AdapterUntrusted(FailedPrecondition):
    """Nobody who is trusted has signed the adapter."""

    reason = "ADAPTER_UNTRUSTED"
