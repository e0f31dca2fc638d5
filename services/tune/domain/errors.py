"""What can be wrong with a run, a reranker or a promotion."""

from services.common.errors import (
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    Unavailable,
)


class StoreUnavailable(Unavailable):
    """The database did not answer; nothing is known to be kept."""

    reason = "STORE_UNAVAILABLE"


class InvalidRun(InvalidArgument):
    """It names no data, or a seed or an id that cannot be kept."""

    reason = "INVALID_RUN"


class InvalidTrainingSet(InvalidArgument):
    """A question or a text is empty, too long or too often there."""

    reason = "INVALID_TRAINING_SET"


class UnknownBase(InvalidArgument):
    """The deployment does not allow to start from this model."""

    reason = "UNKNOWN_BASE"


class InvalidHyperparameters(InvalidArgument):
    """One is unknown, out of its bounds, or more than an engine serves."""

    reason = "INVALID_HYPERPARAMETERS"


class TooManyRuns(ResourceExhausted):
    """The tenant has too many runs that wait."""

    reason = "TOO_MANY_RUNS"


class RunNotFound(NotFound):
    """The tenant has no such run."""

    reason = "RUN_NOT_FOUND"


class RerankerNotFound(NotFound):
    """The tenant has no such reranker."""

    reason = "RERANKER_NOT_FOUND"


class GateFailed(FailedPrecondition):
    """The reranker was not shown to be better than what is live."""

    reason = "GATE_FAILED"


class NothingToRollBack(FailedPrecondition):
    """No promotion is there that is not undone."""

    reason = "NOTHING_TO_ROLL_BACK"


class TooLittleData(FailedPrecondition):
    """Too few examples are there to learn from, or too few that differ in what is to be learnt."""

    reason = "TOO_LITTLE_DATA"


class DatasetNotFit(FailedPrecondition):
    """The data set is of another kind, or its validation says that nothing should be learnt from it."""

    reason = "DATASET_NOT_FIT"


class ParentNotFit(FailedPrecondition):
    """The adapter to begin from is not there, or of another base model or rank."""

    reason = "PARENT_NOT_FIT"


class InsufficientMemory(FailedPrecondition):
    """Training would take more memory than there is."""

    reason = "INSUFFICIENT_MEMORY"


class TrainingFailed(FailedPrecondition):
    """The process that trains ended without having made anything."""

    reason = "TRAINING_FAILED"


class RunTooLong(FailedPrecondition):
    """The run took longer than a run may."""

    reason = "RUN_TOO_LONG"


class RunLost(FailedPrecondition):
    """The process that worked on the run is gone."""

    reason = "RUN_LOST"


class DataErased(FailedPrecondition):
    """Somebody was erased whose ratings the run may have read."""

    reason = "DATA_ERASED"


class ServiceUnavailable(Unavailable):
    """A service that runs ask cannot be reached."""

    reason = "SERVICE_UNAVAILABLE"


class CallRefused(FailedPrecondition):
    """A service that a run asks says no."""

    reason = "CALL_REFUSED"


class RunEnded(Exception):
    """Somebody ended the run, or erased it, while it was worked on."""
