"""What can be wrong with a build, a file or a data set."""

from services.common.errors import FailedPrecondition, InvalidArgument, NotFound, ResourceExhausted, Unavailable


class InvalidDatasetBuild(InvalidArgument):
    """It names no source, no kind, or a value that is beyond its limits."""

    reason = "INVALID_DATASET_BUILD"


class InvalidDatasetFile(InvalidArgument):
    """A file of rows that cannot be used; `file`, `line` (1-based, 0 for the whole) and `column` say where."""

    reason = "INVALID_DATASET_FILE"

    def __init__(self, message: str, file: str, line: int = 0, column: str = "") -> None:
        places = [file or "the file", *([f"line {line}"] if line else []), *([f"column {column}"] if column else [])]
        super().__init__(f"{', '.join(places)}: {message}", file=file, line=line, column=column)


class TooManyBuilds(ResourceExhausted):
    """The tenant has too many builds that wait."""

    reason = "TOO_MANY_BUILDS"


class BuildNotFound(NotFound):
    """The tenant has no such build."""

    reason = "BUILD_NOT_FOUND"


class DatasetNotFound(NotFound):
    """The tenant has no such data set."""

    reason = "DATASET_NOT_FOUND"


class UnknownSplit(InvalidArgument):
    """Not one of a data set's parts."""

    reason = "UNKNOWN_SPLIT"


class DatasetsUnavailable(Unavailable):
    """The store of data sets does not answer."""

    reason = "DATASETS_UNAVAILABLE"


class DatasetAltered(FailedPrecondition):
    """What the store holds is not what was published."""

    reason = "DATASET_ALTERED"


class DatasetErased(FailedPrecondition):
    """Somebody behind its rows was erased, and its rows with them."""

    reason = "DATASET_ERASED"


class DatasetEmpty(FailedPrecondition):
    """Nothing was found to make rows of, or nothing was left of it."""

    reason = "DATASET_EMPTY"


class BuildFailed(FailedPrecondition):
    """The process that builds ended without a data set."""

    reason = "BUILD_FAILED"


class BuildTooLong(FailedPrecondition):
    """The build took longer than a build may."""

    reason = "BUILD_TOO_LONG"


class BuildLost(FailedPrecondition):
    """The process that worked on the build is gone."""

    reason = "BUILD_LOST"
