"""What every order of a run is held to."""

from services.tune.domain.errors import InvalidRun

MAX_WAITING_RUNS = 20
MAX_REQUEST_ID_CHARS = 64


def check_request(request_id: str, seed: int) -> None:
    """Check what can be kept.

    Raises:
        InvalidRun: the request's id or the seed cannot.
    """
    if len(request_id) > MAX_REQUEST_ID_CHARS or "\0" in request_id:
        raise InvalidRun("the request_id is too long", limit=MAX_REQUEST_ID_CHARS)
    if seed < 0:
        raise InvalidRun("the seed is negative", seed=seed)
