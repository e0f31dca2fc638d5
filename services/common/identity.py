"""Who a call acts for: made by the gateway, signed, and verified by every service behind it."""

import hashlib
import hmac
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass

from google.protobuf.message import DecodeError
from tandem.common.v1 import identity_pb2

from services.common.access import Roles, number_of, role_of
from services.common.errors import Unauthenticated

METADATA_KEY = "tandem-identity-bin"
LIFETIME_SECONDS = 60
EVERYONE = "everyone"

_SIGNATURE_BYTES = 32
_caller: ContextVar["Identity"] = ContextVar("caller")


class IdentityMissing(Unauthenticated):
    """The call carries no verified identity."""

    reason = "IDENTITY_MISSING"


@dataclass(frozen=True, slots=True)
class Identity:
    """A tenant, the caller in it, and every principal that the caller may read as.

    It is made where a credential was verified, and by `system` where the platform itself works;
    whatever keeps or finds a tenant's data asks for one. `actor` is the application that speaks
    for the subject, if any does.
    """

    tenant_id: str
    subject: str
    principals: tuple[str, ...]
    roles: Roles = frozenset()
    actor: str = ""


class IdentitySigner:
    """Signs identities for the services behind, and verifies them there, with one shared key."""

    def __init__(self, key: bytes, now: Callable[[], float] = time.time) -> None:
        self._key = key
        self._now = now

    def sign(self, identity: Identity) -> bytes:
        """Return the metadata value that carries `identity` for the next 60 seconds."""
        body = identity_pb2.Identity(
            tenant_id=identity.tenant_id,
            subject=identity.subject,
            principals=identity.principals,
            expires_at=int(self._now()) + LIFETIME_SECONDS,
            roles=sorted(map(number_of, identity.roles)),
            actor=identity.actor,
        ).SerializeToString()
        return self._mac(body) + body

    def verify(self, token: bytes) -> Identity:
        """Return the identity in `token`.

        Raises:
            IdentityMissing: it is forged, malformed or expired.
        """
        signature, body = token[:_SIGNATURE_BYTES], token[_SIGNATURE_BYTES:]
        if not hmac.compare_digest(signature, self._mac(body)):
            raise IdentityMissing("the identity is not signed by this platform")
        try:
            message = identity_pb2.Identity.FromString(body)
        except DecodeError as error:
            raise IdentityMissing("the identity cannot be read") from error
        if not message.tenant_id or message.expires_at < self._now():
            raise IdentityMissing("the identity has expired")
        roles = frozenset(role for role in map(role_of, message.roles) if role)
        return Identity(message.tenant_id, message.subject, tuple(message.principals), roles, message.actor)

    def _mac(self, body: bytes) -> bytes:
        return hmac.digest(self._key, b"tandem/identity/v1\0" + body, hashlib.sha256)


def system(tenant_id: str, part: str) -> Identity:
    """Return whom `part` of the platform acts for when it works on a tenant's data without a caller.

    It may read as nobody, and call nothing.
    """
    return Identity(tenant_id, f"system:{part}", ())


def set_caller(identity: Identity) -> None:
    """Make `identity` the caller of the RPC that this task serves."""
    _caller.set(identity)


def caller() -> Identity:
    """Return whom the current RPC acts for.

    Raises:
        IdentityMissing: nobody was verified.
    """
    try:
        return _caller.get()
    except LookupError:
        raise IdentityMissing("the call carries no identity") from None
