"""Envelope encryption: a secret under a key of its own, and that key under one of the deployment's."""

import base64
import binascii
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import orjson
import structlog
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.common.errors import FailedPrecondition

KEY_BYTES = 32
NONCE_BYTES = 12

log = structlog.get_logger()


class SecretsNotConfigured(FailedPrecondition):
    """The deployment has no key for secrets."""

    reason = "SECRETS_NOT_CONFIGURED"


class SecretKeyUnknown(FailedPrecondition):
    """A secret is encrypted under a key that the deployment does not have any more."""

    reason = "SECRET_KEY_UNKNOWN"


class SecretDamaged(FailedPrecondition):
    """A secret is not what was encrypted, or not where it belongs."""

    reason = "SECRET_DAMAGED"


class InvalidKeys(ValueError):
    """The deployment's keys cannot be read; the message holds none of them."""


class SecretsSettings(BaseSettings):
    """Read from TANDEM_SECRETS_…, by services that keep secrets alone."""

    model_config = SettingsConfigDict(env_prefix="TANDEM_SECRETS_", frozen=True, hide_input_in_errors=True)

    keys: SecretStr = Field(
        SecretStr(""), description='A JSON object {"ID": "32 bytes in base64", ...}; the first is the current key.'
    )
    key_file: Path | None = Field(None, description="A file of the same; it is read again when it changes.")


@dataclass(frozen=True, slots=True, repr=False)
class Keyring:
    """The deployment's keys by id; `current` is the id of the one that encrypts."""

    current: str
    keys: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Sealed:
    """A secret as it is kept: its ciphertext, and its own key under the deployment's key `key_id`."""

    key_id: str
    wrapped_key: bytes
    sealed: bytes


# Gives the keys as they are now, or raises SecretsNotConfigured.
Keys = Callable[[], Keyring]


def keys_of(settings: SecretsSettings) -> Keys:
    """Return what gives the keys that the settings name.

    Raises:
        InvalidKeys: they cannot be read.
    """
    if settings.key_file:
        return _KeyFile(settings.key_file).keys
    text = settings.keys.get_secret_value()
    ring = keyring_of(text.encode()) if text else None

    def keys() -> Keyring:
        if ring is None:
            raise SecretsNotConfigured("the deployment has no key for secrets")
        return ring

    return keys


def keyring_of(text: bytes) -> Keyring:
    """Return the keys in a JSON object.

    Raises:
        InvalidKeys: it is not one of keys of 32 bytes in base64.
    """
    try:
        found = orjson.loads(text)
        keys = {key_id: base64.b64decode(key, validate=True) for key_id, key in found.items()}
    except (orjson.JSONDecodeError, AttributeError, TypeError, binascii.Error, ValueError):
        # Without a cause: it would show what it could not read.
        raise InvalidKeys("the keys for secrets are not a JSON object of base64") from None
    if not keys or any(len(key) != KEY_BYTES for key in keys.values()):
        raise InvalidKeys(f"there is no key for secrets, or one has not {KEY_BYTES} bytes")
    return Keyring(next(iter(keys)), keys)


class Envelope:
    """Seals and opens secrets. Each is bound to its place: a tenant and a name."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    @property
    def current(self) -> str:
        """The id of the key that encrypts now; raises SecretsNotConfigured."""
        return self._keys().current

    def seal(self, tenant_id: str, name: str, secret: bytes) -> Sealed:
        """Encrypt a secret under a fresh key.

        Raises:
            SecretsNotConfigured: the deployment has no key.
        """
        place, own = _place(tenant_id, name), AESGCM.generate_key(8 * KEY_BYTES)
        ring = self._keys()
        return Sealed(ring.current, _encrypt(ring.keys[ring.current], own, place), _encrypt(own, secret, place))

    def open(self, tenant_id: str, name: str, sealed: Sealed) -> bytes:
        """Return a secret.

        Raises:
            SecretsNotConfigured, SecretKeyUnknown: the deployment has not its key.
            SecretDamaged: it was changed, or is another's.
        """
        place = _place(tenant_id, name)
        return _decrypt(self._own_key(sealed, place), sealed.sealed, place)

    def rewrap(self, tenant_id: str, name: str, sealed: Sealed) -> Sealed:
        """Return a secret under the current key, its ciphertext untouched.

        Raises:
            As `open`.
        """
        place, ring = _place(tenant_id, name), self._keys()
        own = self._own_key(sealed, place)
        return Sealed(ring.current, _encrypt(ring.keys[ring.current], own, place), sealed.sealed)

    def _own_key(self, sealed: Sealed, place: bytes) -> bytes:
        keys = self._keys().keys
        if sealed.key_id not in keys:
            raise SecretKeyUnknown("the deployment has not the key of a secret", key_id=sealed.key_id)
        return _decrypt(keys[sealed.key_id], sealed.wrapped_key, place)


class _KeyFile:
    """Keys in a file, as they were when it changed last."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = self._stamp()
        self._ring = self._read()

    def keys(self) -> Keyring:
        try:
            stamp = self._stamp()
            if stamp != self._seen:
                self._ring, self._seen = self._read(), stamp
        except InvalidKeys as error:
            # It may be half written; what was read before is good.
            log.warning("secret_keys_unreadable", detail=str(error))
        return self._ring

    def _stamp(self) -> tuple[int, int, int]:
        try:
            status = self._path.stat()
        except OSError as error:
            raise InvalidKeys(f"the file of keys for secrets cannot be read: {error.strerror}") from error
        return status.st_mtime_ns, status.st_ino, status.st_size

    def _read(self) -> Keyring:
        try:
            return keyring_of(self._path.read_bytes())
        except OSError as error:
            raise InvalidKeys(f"the file of keys for secrets cannot be read: {error.strerror}") from error


def _place(tenant_id: str, name: str) -> bytes:
    """Return what no other pair of tenant and name gives."""
    return b"tandem/secret/v1\0" + orjson.dumps([tenant_id, name])


def _encrypt(key: bytes, text: bytes, place: bytes) -> bytes:
    nonce = os.urandom(NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, text, place)


def _decrypt(key: bytes, sealed: bytes, place: bytes) -> bytes:
    try:
        return AESGCM(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], place)
    except (InvalidTag, ValueError) as error:
        raise SecretDamaged("a secret is not what was encrypted here") from error
