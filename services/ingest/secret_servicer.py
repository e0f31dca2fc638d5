"""SecretService's RPCs."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from tandem.ingest.v1 import secret_service_pb2 as pb
from tandem.ingest.v1 import secret_service_pb2_grpc as rpc

from services.common.database import Sessions
from services.common.identity import caller
from services.common.pages import InvalidPage, key_of, page_size_of, token_of
from services.common.secrets import Envelope
from services.ingest.adapters import secrets
from services.ingest.adapters.postgres import transaction
from services.ingest.adapters.requests import NAME
from services.ingest.adapters.secrets import Secret
from services.ingest.errors import InvalidSecret

MAX_SECRET_BYTES = 65_536


class SecretServicer(rpc.SecretServiceServicer):
    """Keeps what it is given encrypted, and shows none of it again."""

    def __init__(self, sessions: Sessions, envelope: Envelope, now: Callable[[], datetime]) -> None:
        self._sessions = sessions
        self._envelope = envelope
        self._now = now

    async def PutSecret(self, request: pb.PutSecretRequest, context: Any) -> pb.PutSecretResponse:
        identity = caller()
        if not NAME.fullmatch(request.name):
            raise InvalidSecret("a name is 1 to 100 letters, digits, '.', '_' and '-'")
        if not 0 < len(request.value) <= MAX_SECRET_BYTES:
            raise InvalidSecret("a secret is empty or too long", limit_bytes=MAX_SECRET_BYTES)
        sealed = self._envelope.seal(identity.tenant_id, request.name, request.value)
        secret = Secret(request.name, self._now(), sealed.key_id)
        async with transaction(self._sessions) as session:
            await secrets.put(session, identity, secret, sealed)
        return pb.PutSecretResponse(secret=_message(secret))

    async def ListSecrets(self, request: pb.ListSecretsRequest, context: Any) -> pb.ListSecretsResponse:
        identity, size, after = caller(), page_size_of(request.page_size), key_of(request.page_token)
        if "\0" in after:
            raise InvalidPage("the page token is not one of ours")
        # What cannot be opened is not shown as if it were there.
        _ = self._envelope.current
        async with transaction(self._sessions) as session:
            found = await secrets.page(session, identity, after, size + 1)
        return pb.ListSecretsResponse(
            secrets=map(_message, found[:size]),
            next_page_token=token_of(found[size - 1].name) if len(found) > size else "",
        )

    async def DeleteSecret(self, request: pb.DeleteSecretRequest, context: Any) -> pb.DeleteSecretResponse:
        # Without a key too: who lost the key must be able to remove what it kept.
        if NAME.fullmatch(request.name):
            async with transaction(self._sessions) as session:
                await secrets.remove(session, caller(), request.name)
        return pb.DeleteSecretResponse()


def _message(secret: Secret) -> pb.Secret:
    message = pb.Secret(name=secret.name, key_id=secret.key_id)
    message.updated_at.FromDatetime(secret.updated_at)
    return message
