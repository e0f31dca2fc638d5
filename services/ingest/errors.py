"""What ingest refuses, by name."""

from services.common.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, Unavailable


class SourceNotFound(NotFound):
    """The tenant has no such source."""

    reason = "SOURCE_NOT_FOUND"


class SourceExists(AlreadyExists):
    """Another source of the tenant has the name."""

    reason = "SOURCE_EXISTS"


class UnknownSourceKind(InvalidArgument):
    """No connector has this name."""

    reason = "UNKNOWN_SOURCE_KIND"


class InvalidSourceConfig(InvalidArgument):
    """A source cannot be configured like this."""

    reason = "INVALID_SOURCE_CONFIG"


class PathNotFound(InvalidArgument):
    """There is nothing at the path that a new source names."""

    reason = "PATH_NOT_FOUND"


class PathGone(FailedPrecondition):
    """The path of a source is not there any more, or is not what it was."""

    reason = "PATH_NOT_FOUND"


class SourceNotSyncable(FailedPrecondition):
    """The source is paused, or is of a kind that has nothing to compare with."""

    reason = "SOURCE_NOT_SYNCABLE"


class NotAPushSource(FailedPrecondition):
    """The source fills itself."""

    reason = "NOT_A_PUSH_SOURCE"


class InvalidDocument(InvalidArgument):
    """A pushed document that can never be kept as sent."""

    reason = "INVALID_DOCUMENT"


class InvalidChunking(InvalidArgument):
    """Documents cannot be cut as it is wanted."""

    reason = "INVALID_CHUNKING"


class DocumentTooLarge(InvalidArgument):
    """More bytes than the platform takes."""

    reason = "DOCUMENT_TOO_LARGE"


class TooManyDocuments(InvalidArgument):
    """More documents than one request may carry."""

    reason = "TOO_MANY_DOCUMENTS"


class ContentsUnavailable(Unavailable):
    """The blob store did not take a content."""

    reason = "CONTENTS_UNAVAILABLE"


class ManifestUnavailable(Unavailable):
    """The database did not answer."""

    reason = "MANIFEST_UNAVAILABLE"


class InvalidSecret(InvalidArgument):
    """A secret that can never be kept as sent."""

    reason = "INVALID_SECRET"


class NothingToErase(InvalidArgument):
    """The request names neither a person nor the whole tenant."""

    reason = "NOTHING_TO_ERASE"


class PlaceNotFound(NotFound):
    """The deployment has no such place, or it is another tenant's."""

    reason = "PLACE_NOT_FOUND"


class MoveUnderWay(FailedPrecondition):
    """Another move of the tenant is not done."""

    reason = "MOVE_UNDER_WAY"


class IndexSame(InvalidArgument):
    """The live index is made like this."""

    reason = "INDEX_SAME"


class ModelUnknown(InvalidArgument):
    """The deployment has no such embedding model."""

    reason = "MODEL_UNKNOWN"


class IndexBuildUnderWay(FailedPrecondition):
    """Another index is beside the live one already."""

    reason = "INDEX_BUILD_UNDER_WAY"


class IndexNotReady(FailedPrecondition):
    """The other index is not built, or cannot hold every document."""

    reason = "INDEX_NOT_READY"


class IndexNotKept(FailedPrecondition):
    """No earlier index is kept."""

    reason = "INDEX_NOT_KEPT"


class DeploymentUnknown(Unavailable):
    """Embed does not say what indexes it can make."""

    reason = "DEPLOYMENT_UNKNOWN"


class IndexNotDropped(Unavailable):
    """Embed does not answer, or the index is still in use; it is asked again."""

    reason = "INDEX_NOT_DROPPED"
