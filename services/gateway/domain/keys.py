"""API keys: made, kept as a keyed MAC, and verified."""

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from services.common.access import Role, Roles, role_of
from services.common.errors import InvalidArgument, NotFound, Unauthenticated
from services.common.identity import EVERYONE, Identity
from services.common.quotas import UNLIMITED, Quotas
from services.common.text import printable

PREFIX = "tk"
MAX_NAME_CHARS = 100
DEFAULT_ROLES: Roles = frozenset({Role.READER, Role.RATER})

# A folder of contents has this name: it is neither "." nor "..".
_TENANT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")
_KEY_ID_BYTES = 8
_SECRET_BYTES = 32
_TAG_BYTES = 8


class CredentialMissing(Unauthenticated):
    """The call carries no credential."""

    reason = "CREDENTIAL_MISSING"


class CredentialInvalid(Unauthenticated):
    """The credential is malformed, unknown, expired or revoked; it does not say which."""

    reason = "CREDENTIAL_INVALID"


class InvalidKeyName(InvalidArgument):
    """A key's name is empty or too long."""

    reason = "INVALID_KEY_NAME"


class InvalidRole(InvalidArgument):
    """A role is none that there is."""

    reason = "INVALID_ROLE"


class InvalidExpiry(InvalidArgument):
    """A key would end before it begins."""

    reason = "INVALID_EXPIRY"


class InvalidTenant(InvalidArgument):
    """A tenant's name has other characters than it may, or too many."""

    reason = "INVALID_TENANT"


class ApiKeyNotFound(NotFound):
    """The tenant has no such key."""

    reason = "API_KEY_NOT_FOUND"


@dataclass(frozen=True, slots=True)
class KeyTerms:
    """What a key is for: its name, for people, and what it lets its holder do, until when."""

    name: str
    roles: Roles
    expires_at: datetime | None = None
    acts_for_users: bool = False
    quota: Quotas = UNLIMITED


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as people see it."""

    key_id: str
    tenant_id: str
    terms: KeyTerms
    created_at: datetime
    revoked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class StoredKey:
    """What a credential is checked against: never the secret, only its MAC."""

    key_id: str
    tenant_id: str
    mac: bytes
    revoked: bool
    roles: Roles = frozenset()
    expires_at: datetime | None = None
    acts_for_users: bool = False
    quota: Quotas = UNLIMITED

    @property
    def subject(self) -> str:
        """Return the key as a caller, which is also what it reads its own documents as."""
        return f"key:{self.key_id}"

    def is_good(self, now: datetime) -> bool:
        """Return whether the key is neither revoked nor expired."""
        return not self.revoked and (self.expires_at is None or now < self.expires_at)


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


def roles_of(numbers: Iterable[int]) -> Roles:
    """Return the roles of a key that is asked for; a key without any is one of a reader and rater.

    Only admins make keys, and an admin may do everything: nobody can give what they have not.

    Raises:
        InvalidRole: a number is of no role.
    """
    roles = frozenset(map(role_of, numbers)) or DEFAULT_ROLES
    if None in roles:
        raise InvalidRole("there is no such role")
    return frozenset(role for role in roles if role)


def checked_terms(terms: KeyTerms, now: datetime) -> KeyTerms:
    """Return what a key is for, as it is kept.

    Raises:
        InvalidKeyName: the name has not 1 to 100 characters.
        InvalidExpiry: it would not be good at all.
        InvalidQuota: a limit is negative, or not one of a key.
    """
    if terms.expires_at is not None and terms.expires_at <= now:
        raise InvalidExpiry("a key ends in the future, or never")
    return replace(terms, name=key_name_of(terms.name))


def identity_of(key: StoredKey) -> Identity:
    """Return whom a key's calls act for when they carry no end user.

    It reads what is public in its tenant, and, as itself, what it owns.
    """
    return Identity(key.tenant_id, key.subject, (EVERYONE, key.subject), key.roles)


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

    def read(self, text: str) -> Credential:
        """Return the credential in `text`.

        Raises:
            CredentialInvalid: it is not one that this platform made.
        """
        prefix, _, rest = text.partition("_")
        key_id, _, encoded = rest.partition("_")
        secret = _decoded(encoded)
        random, tag = secret[:_SECRET_BYTES], secret[_SECRET_BYTES:]
        made_here = hmac.compare_digest(tag, self._tag(key_id, random))
        if prefix != PREFIX or not made_here:
            raise CredentialInvalid("the credential is not valid")
        return Credential(key_id, secret)

    def verify(self, credential: Credential, key: StoredKey | None, now: datetime) -> StoredKey:
        """Return what is kept under the id of `credential`, once it is sure that it is good.

        Raises:
            CredentialInvalid: nothing is kept, it does not match, it was revoked or has expired.
        """
        expected = key.mac if key else b""
        matches = hmac.compare_digest(expected, self._mac(credential.key_id, credential.secret))
        if key is None or not matches or not key.is_good(now):
            raise CredentialInvalid("the credential is not valid")
        return key

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
