"""Who made an adapter: Ed25519 over its card (RFC 8032)."""

import base64
import binascii
from collections.abc import Sequence

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from services.common.lora.errors import AdapterUntrusted

KEY_BYTES = 32


class InvalidKey(ValueError):
    """A key is not 32 bytes in base64."""


class AdapterSigner:
    """Signs cards."""

    def __init__(self, key: str) -> None:
        """`key` is a private key, 32 bytes in base64.

        Raises:
            InvalidKey: it is not.
        """
        self._key = Ed25519PrivateKey.from_private_bytes(_bytes_of(key))

    @property
    def public_key(self) -> str:
        """Return what a verifier needs, in base64."""
        return base64.b64encode(self._key.public_key().public_bytes_raw()).decode()

    def sign(self, card: bytes) -> bytes:
        """Return the signature, 64 bytes."""
        return self._key.sign(card)


class AdapterVerifier:
    """Checks signatures against the keys that are trusted; with no keys, everything is."""

    def __init__(self, keys: Sequence[str]) -> None:
        """`keys` are public keys, each 32 bytes in base64.

        Raises:
            InvalidKey: one is not.
        """
        self._keys = [Ed25519PublicKey.from_public_bytes(_bytes_of(key)) for key in keys]

    def check(self, card: bytes, signature: bytes) -> None:
        """Check that one of the keys signed `card`.

        Raises:
            AdapterUntrusted: none did.
        """
        if self._keys and not any(_signed(key, card, signature) for key in self._keys):
            raise AdapterUntrusted("the adapter is not signed by whom this engine trusts")


def _signed(key: Ed25519PublicKey, card: bytes, signature: bytes) -> bool:
    try:
        key.verify(signature, card)
    except InvalidSignature:
        return False
    return True


def _bytes_of(key: str) -> bytes:
    try:
        found = base64.b64decode(key, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidKey("a key is no base64") from error
    if len(found) != KEY_BYTES:
        raise InvalidKey(f"a key has {len(found)} bytes instead of {KEY_BYTES}")
    return found
