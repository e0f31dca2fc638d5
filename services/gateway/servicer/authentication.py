"""Finds out whom a call acts for, from the API key it carries."""

from services.common.errors import Unauthenticated
from services.common.identity import Identity
from services.common.recent import Recent
from services.gateway.domain.keys import CredentialMissing, KeyMaker, StoredKey
from services.gateway.metrics import AUTHENTICATION_FAILURES

AUTHORIZATION = "authorization"


class KeyAuthentication:
    """An Authenticate for callers from outside."""

    def __init__(self, maker: KeyMaker, keys: Recent[str, StoredKey | None]) -> None:
        self._maker = maker
        self._keys = keys

    async def __call__(self, metadata: dict[str, str | bytes]) -> Identity:
        """Return the identity of the key in `authorization`.

        Raises:
            CredentialMissing: there is none.
            CredentialInvalid: it is not a key of this platform, or not one any more.
        """
        try:
            return await self._authenticate(metadata.get(AUTHORIZATION))
        except Unauthenticated as error:
            AUTHENTICATION_FAILURES.labels(error.reason).inc()
            raise

    async def _authenticate(self, authorization: str | bytes | None) -> Identity:
        if not isinstance(authorization, str) or not authorization.strip():
            raise CredentialMissing('send your key in the metadata key `authorization`, as "Bearer KEY"')
        credential = self._maker.read(authorization)
        return self._maker.verify(credential, await self._keys.get(credential.key_id))
