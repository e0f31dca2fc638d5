"""What a call to erase asks for, the same in every service that keeps data."""

from tandem.erasure.v1 import erasure_service_pb2 as pb

from services.common.errors import InvalidArgument


class NothingToErase(InvalidArgument):
    """Neither a person with a name nor the whole tenant."""

    reason = "NOTHING_TO_ERASE"


def subjects_of(request: pb.EraseRequest) -> tuple[str, ...] | None:
    """Return the person's principals; None is everybody of the tenant.

    Raises:
        NothingToErase: the request names neither.
    """
    if request.HasField("whole_tenant"):
        return None
    names = tuple(dict.fromkeys(name for name in request.person.principals if name and "\0" not in name))
    if not names:
        raise NothingToErase("a person with a name, or the whole tenant, is to be erased")
    return names
