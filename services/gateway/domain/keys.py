"""API keys: made, kept as a keyed MAC, and verified."""

import base64
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import datetime

from services.common.access import EVERY_ROLE
from services.common.errors import InvalidArgument, NotFound, Unauthenticated
from services.common.identity import EVERYONE, Identity
from services.common.text import printable

PREFIX = "tk"
MAX_NAME_CHARS = 100

_TENANT = re.compile(r"[A-Za-z0-9._-]{1,64}")
_KEY_ID_BYTES = 8
_SECRET_BYTES = 32
_TAG_BYTES = 8


class CredentialMissing(Unauthenticated):
    """The call carries no credential."""

    reason = "CREDENTIAL_MISSING"


class CredentialInvalid(Unauthenticated):
    """The credential is malformed, unknown or revoked; it does not say which."""

    reason = "CREDENTIAL_INVALID"


class InvalidKeyName(InvalidArgument):
    """A key's name is empty or too long."""

    reason = "INVALID_KEY_NAME"


class InvalidTenant(InvalidArgument):
    """A tenant's name has other characters than it may, or too many."""

    reason = "INVALID_TENANT"


class ApiKeyNotFound(NotFound):
    """The tenant has no such key."""

    reason = "API_KEY_NOT_FOUND"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as people see it."""

    key_id: str
    tenant_id: str
    name: str
    created_at: datetime
    revoked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class StoredKey:
    """What a credential is checked against: never the secret, only its MAC."""

    key_id: str
    tenant_id: str
    mac: bytes
    revoked: bool


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key just made; `credential` is shown once."""

    key_id: str
    credential: str
    mac: bytes


@dataclass(frozen=True, slots=True)
class Credential:
    """A credential taken apart, that this platform once made."""

    key_id: str
    secret: bytes


def tenant_id_of(name: str) -> str:
    """Return the tenant's id, which is its name.

    Raises:
        InvalidTenant: it is not 1 to 64 letters, digits, '.', '_' and '-'.
    """
    if not _TENANT.fullmatch(name):
        raise InvalidTenant("a tenant's name has 1 to 64 letters, digits, '.', '_' and '-'")
    return name


def key_name_of(name: str) -> str:
    """Return the name, cleaned.

    Raises:
        InvalidKeyName: it has not 1 to 100 characters.
    """
    cleaned = printable(name)
    if not 1 <= len(cleaned) <= MAX_NAME_CHARS:
        raise InvalidKeyName("a key's name has 1 to 100 characters", characters=len(cleaned))
    return cleaned


def identity_of(key: StoredKey) -> Identity:
    """Return whom a key's calls act for."""
    subject = f"key:{key.key_id}"
    return Identity(key.tenant_id, subject, (EVERYONE, subject), EVERY_ROLE)


class KeyMaker:
    """Makes and checks keys under the platform's key.

    A credential is "tk_ID_SECRET". The secret is 256 random bits and a tag that only this
    platform can make: what was never made here is refused without asking the database.
    """

    def __init__(self, platform_key: bytes) -> None:
        self._key = platform_key

    def make(self) -> NewKey:
        """Return a new key."""
        key_id, random = secrets.token_hex(_KEY_ID_BYTES), secrets.token_bytes(_SECRET_BYTES)
        secret = random + self._tag(key_id, random)
        text = base64.urlsafe_b64encode(secret).rstrip(b"=").decode()
        return NewKey(key_id, f"{PREFIX}_{key_id}_{text}", self._mac(key_id, secret))

    def read(self, authorization: str) -> Credential:
        """Return the credential in the value of an `authorization` header.

        Raises:
            CredentialInvalid: it is not one that this platform made.
        """
        scheme, _, text = authorization.partition(" ")
        prefix, _, rest = text.strip().partition("_")
        key_id, _, encoded = rest.partition("_")
        secret = _decoded(encoded)
        random, tag = secret[:_SECRET_BYTES], secret[_SECRET_BYTES:]
        made_here = hmac.compare_digest(tag, self._tag(key_id, random))
        if scheme.lower() != "bearer" or prefix != PREFIX or not made_here:
            raise CredentialInvalid("the credential is not valid")
        return Credential(key_id, secret)

    def verify(self, credential: Credential, key: StoredKey | None) -> Identity:
        """Return whom `credential` acts for, given what is kept under its id.

        Raises:
            CredentialInvalid: nothing is kept, it does not match, or it was revoked.
        """
        expected = key.mac if key else b""
        matches = hmac.compare_digest(expected, self._mac(credential.key_id, credential.secret))
        if key is None or not matches or key.revoked:
            raise CredentialInvalid("the credential is not valid")
        return identity_of(key)

    def _tag(self, key_id: str, random: bytes) -> bytes:
        return self._digest(b"tandem/api-key-tag/v1", key_id, random)[:_TAG_BYTES]

    def _mac(self, key_id: str, secret: bytes) -> bytes:
        return self._digest(b"tandem/api-key/v1", key_id, secret)

    def _digest(self, purpose: bytes, key_id: str, secret: bytes) -> bytes:
        return hmac.digest(self._key, b"\0".join((purpose, key_id.encode("utf-8", "replace"), secret)), hashlib.sha256)


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text.encode() + b"=" * (-len(text) % 4), b"-_", validate=True)
    except ValueError:
        return b""
