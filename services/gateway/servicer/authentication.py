"""Finds out whom a call acts for, from the credential it carries."""

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from services.common.access import Roles
from services.common.errors import ServiceError
from services.common.identity import Identity
from services.common.recent import Recent
from services.gateway.adapters.issuer_keys import IssuerKeys
from services.gateway.domain.delegation import (
    ALGORITHM,
    AssertionInvalid,
    DelegationNotAllowed,
    asserted_user,
    common_roles,
)
from services.gateway.domain.keys import (
    PREFIX,
    CredentialInvalid,
    CredentialMissing,
    KeyMaker,
    StoredKey,
    identity_of,
)
from services.gateway.domain.people import USER, Expanded, Person
from services.gateway.domain.tokens import Issuer, Verified, opened, verified
from services.gateway.metrics import AUTHENTICATION_FAILURES

AUTHORIZATION = "authorization"
ON_BEHALF_OF = "tandem-on-behalf-of"
MOST_TOKENS = 2_000
# Some may read as thousands of principals.
MOST_PEOPLE = 1_000

Metadata = dict[str, str | bytes]
RecentKeys = Recent[str, StoredKey | None]
RecentPeople = Recent[Person, Expanded]


class Keys:
    """Verifies API keys."""

    def __init__(
        self, maker: KeyMaker, kept: RecentKeys, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._maker = maker
        self._kept = kept
        self._now = now

    async def verify(self, text: str) -> StoredKey:
        """Return the key whose credential is `text`.

        Raises:
            CredentialInvalid: it is not a key of this platform, or not one any more.
        """
        credential = self._maker.read(text)
        return self._maker.verify(credential, await self._kept.get(credential.key_id), self._now())


class Tokens:
    """Verifies the tokens of configured issuers, and remembers them for a moment, never past their end."""

    def __init__(
        self, issuers: Sequence[tuple[Issuer, IssuerKeys]], seconds: float, now: Callable[[], float] = time.time
    ) -> None:
        self._issuers = issuers
        self._recent = Recent(self._verify, seconds, MOST_TOKENS)
        self._now = now

    async def verify(self, token: str) -> Verified:
        """Return what `token` says of its user.

        Raises:
            CredentialInvalid: anything about it is wrong.
            IssuerUnavailable: it cannot be verified now.
        """
        found = await self._recent.get(token)
        if found.expires_at > self._now():
            return found
        self._recent.forget(token)
        return await self._verify(token)

    async def _verify(self, token: str) -> Verified:
        said = opened(token)
        issuers = [
            (issuer, keys)
            for issuer, keys in self._issuers
            if issuer.issuer == said.issuer
            and issuer.audience in said.audiences
            and said.algorithm in issuer.algorithms
        ]
        if len(issuers) != 1:
            raise CredentialInvalid("the credential is not valid")
        ((issuer, keys),) = issuers
        # What could not be verified anyway is no reason to ask the issuer.
        key = await keys.find(said.key_id, said.algorithm) if said.algorithm in issuer.algorithms else None
        if key is None:
            raise CredentialInvalid("the credential is not valid")
        return verified(token, issuer, key)


class Authentication:
    """An Authenticate for callers from outside: a credential, whom it names, and all that they may read as."""

    def __init__(self, keys: Keys, tokens: Tokens, people: RecentPeople) -> None:
        self._keys = keys
        self._tokens = tokens
        self._people = people

    async def __call__(self, metadata: Metadata) -> Identity:
        """Return the identity of the credential in `authorization`, or of the user whom it speaks for.

        Raises:
            CredentialMissing: there is none.
            CredentialInvalid: it is none that is believed, or not any more.
            AssertionInvalid: what names the user is not believed.
            DelegationNotAllowed: the credential may not speak for users.
            TooManyPrincipals: the user is in too many groups.
            IssuerUnavailable, StoreUnavailable: it cannot be said now.
        """
        try:
            return await self._identity(metadata)
        except ServiceError as error:
            AUTHENTICATION_FAILURES.labels(error.reason).inc()
            raise

    async def _identity(self, metadata: Metadata) -> Identity:
        text, carried = _credential(metadata), metadata.get(ON_BEHALF_OF)
        if not text.startswith(f"{PREFIX}_"):
            token = await self._tokens.verify(text)
            if carried is not None:
                raise DelegationNotAllowed("only an API key may speak for a user")
            return await self._user(token.person, token.roles)
        key = await self._keys.verify(text)
        if carried is None:
            return identity_of(key)
        if not key.acts_for_users:
            raise DelegationNotAllowed("the API key may not speak for users")
        # What the key itself owns is not its users' to read.
        return await self._user(*await self._spoken_for(key, text, carried), actor=key.subject)

    async def _spoken_for(self, key: StoredKey, credential: str, carried: str | bytes) -> tuple[Person, Roles]:
        """Return the user whom a key's call is for, and what may be done for them."""
        try:
            if opened(str(carried)).algorithm == ALGORITHM:
                return Person(key.tenant_id, (asserted_user(str(carried), credential),)), key.roles
            token = await self._tokens.verify(str(carried))
        except CredentialInvalid as error:
            raise AssertionInvalid("the assertion is not valid") from error
        if token.person.tenant_id != key.tenant_id:
            raise AssertionInvalid("the assertion is not valid")
        return token.person, common_roles(key.roles, token.roles)

    async def _user(self, person: Person, roles: Roles, actor: str = "") -> Identity:
        found = await self._people.get(person)
        return Identity(person.tenant_id, USER + found.user_id, found.principals, roles, actor)


def _credential(metadata: Metadata) -> str:
    """Return the text of the bearer's credential."""
    value = metadata.get(AUTHORIZATION)
    if not isinstance(value, str) or not value.strip():
        raise CredentialMissing('send your key or token in the metadata key `authorization`, as "Bearer KEY"')
    scheme, _, text = value.partition(" ")
    if scheme.lower() != "bearer":
        raise CredentialInvalid("the credential is not valid")
    return text.strip()
