"""Failed calls: one line with the reason the services gave."""

import grpc
import pytest

from services.cli.errors import NotReachable, failure_of
from services.common.errors import NotFound
from services.common.interceptors import DETAILS_KEY, details_of


class SourceNotFound(NotFound):
    reason = "SOURCE_NOT_FOUND"


class FailedCall(grpc.RpcError):
    """What grpc raises, as far as the command reads it."""

    def __init__(self, code, details="", metadata=()):
        super().__init__()
        self.code = lambda: code
        self.details = lambda: details
        self.trailing_metadata = lambda: metadata


def test_the_reason_and_the_facts_come_from_the_service():
    error = SourceNotFound("there is no such source", source="crm")
    call = FailedCall(error.code, str(error), ((DETAILS_KEY, details_of(error)),))
    failure = failure_of(call, "127.0.0.1:1")
    assert failure.as_json() == {
        "error": {
            "reason": "SOURCE_NOT_FOUND",
            "message": "there is no such source",
            "facts": {"code": "NOT_FOUND", "source": "crm"},
        }
    }


def test_a_gateway_that_is_not_there_is_said_so_with_how_to_start_it():
    failure = failure_of(FailedCall(grpc.StatusCode.UNAVAILABLE, "failed to connect"), "127.0.0.1:1")
    assert isinstance(failure, NotReachable)
    assert "tandem up" in str(failure)
    assert "127.0.0.1:1" in str(failure)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED"),
        (grpc.StatusCode.INTERNAL, "INTERNAL"),
        (grpc.StatusCode.CANCELLED, "CANCELLED"),
    ],
)
def test_a_status_without_a_reason_is_its_own_reason(code, reason):
    assert failure_of(FailedCall(code), "a").reason == reason
    assert str(failure_of(FailedCall(code), "a"))
