"""Applications that speak for their end users: what they must show, and what that lets them do."""

import jwt

from services.common.access import EVERY_ROLE, Role, Roles
from services.common.errors import PermissionDenied, Unauthenticated
from services.gateway.domain.people import is_id

AUDIENCE = "tandem"
ALGORITHM = "HS256"
MOST_SECONDS = 300
LEEWAY_SECONDS = 30
REQUIRED = ("sub", "iat", "exp", "aud")


class AssertionInvalid(Unauthenticated):
    """What says for whom an application speaks is malformed, expired, or not of its own tenant."""

    reason = "ASSERTION_INVALID"


class DelegationNotAllowed(PermissionDenied):
    """The credential is not one that may speak for users."""

    reason = "DELEGATION_NOT_ALLOWED"


def asserted_user(assertion: str, credential: str) -> str:
    """Return the user whom an application names, by an assertion that it has signed with its credential.

    Raises:
        AssertionInvalid: anything about it is wrong.
    """
    try:
        claims = jwt.decode(
            assertion,
            credential,
            algorithms=[ALGORITHM],
            audience=AUDIENCE,
            leeway=LEEWAY_SECONDS,
            options={"require": list(REQUIRED), "enforce_minimum_key_length": True},
        )
        seconds = int(claims["exp"]) - int(claims["iat"])
    except Exception as error:
        # Whatever is wrong with it, it names nobody.
        raise AssertionInvalid("the assertion is not valid") from error
    if not 0 < seconds <= MOST_SECONDS or not is_id(claims["sub"]):
        raise AssertionInvalid("the assertion is not valid", most_seconds=MOST_SECONDS)
    return str(claims["sub"])


def common_roles(key: Roles, user: Roles) -> Roles:
    """Return what both the application and its user may do."""
    return _every(key) & _every(user)


def _every(roles: Roles) -> Roles:
    return EVERY_ROLE if Role.ADMIN in roles else roles
