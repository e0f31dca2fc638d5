"""What can be wrong with an adapter in the registry, an alias, or a canary."""

from services.common.errors import FailedPrecondition, InvalidArgument, NotFound, ResourceExhausted


class AdapterNotFound(NotFound):
    """The tenant has no such adapter, or the URI holds none."""

    reason = "ADAPTER_NOT_FOUND"


class AliasNotFound(NotFound):
    """The tenant has no such alias."""

    reason = "ALIAS_NOT_FOUND"


class AliasChanged(FailedPrecondition):
    """Somebody else has moved the alias meanwhile."""

    reason = "ALIAS_CHANGED"


class AdapterInUse(FailedPrecondition):
    """An alias or a canary points at the adapter."""

    reason = "ADAPTER_IN_USE"


class CanaryRunning(FailedPrecondition):
    """An adapter is tried under the alias: that has to end first."""

    reason = "CANARY_RUNNING"


class NoCanary(FailedPrecondition):
    """No adapter is tried under the alias."""

    reason = "NO_CANARY"


class InvalidCanary(InvalidArgument):
    """A canary of such a share, or by such a rule, cannot be."""

    reason = "INVALID_CANARY"


class InvalidReason(InvalidArgument):
    """The reason is too long, or is not given where the gate is overruled."""

    reason = "INVALID_REASON"


class TooManyAliases(ResourceExhausted):
    """The tenant has as many aliases as a tenant may."""

    reason = "TOO_MANY_ALIASES"
