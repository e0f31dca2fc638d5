"""Signed answer ids: minted when an answer ends, and the only way to rate it."""

import base64
import binascii
import hashlib
import hmac

from services.common.errors import InvalidArgument

_SIGNATURE_BYTES = 16


class InvalidAnswerId(InvalidArgument):
    """The id was not signed by this platform for this tenant."""

    reason = "INVALID_ANSWER_ID"


class AnswerIds:
    """Signs interaction ids for one tenant each, and reads them back."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def mint(self, tenant_id: str, interaction_id: str) -> str:
        """Return the answer id, URL-safe, of an interaction (an ASCII id)."""
        body = interaction_id.encode("ascii")
        # The text comes first: then the id begins with a letter, and no shell takes it for an option.
        token = body + self._mac(tenant_id, body)
        return base64.urlsafe_b64encode(token).rstrip(b"=").decode()

    def read(self, tenant_id: str, answer_id: str) -> str:
        """Return the interaction id inside `answer_id`.

        Raises:
            InvalidAnswerId: it was altered, made up, or signed for another tenant.
        """
        try:
            token = base64.b64decode(answer_id + "=" * (-len(answer_id) % 4), b"-_", validate=True)
        except (binascii.Error, ValueError):
            token = b""
        body, signature = token[:-_SIGNATURE_BYTES], token[-_SIGNATURE_BYTES:]
        if not body or not hmac.compare_digest(signature, self._mac(tenant_id, body)):
            raise InvalidAnswerId("the answer id is not one of this tenant's")
        return body.decode("ascii")

    def _mac(self, tenant_id: str, body: bytes) -> bytes:
        message = b"tandem/answer/v1\0" + tenant_id.encode() + b"\0" + body
        return hmac.digest(self._key, message, hashlib.sha256)[:_SIGNATURE_BYTES]
