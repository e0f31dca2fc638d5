"""JSON Web Tokens of users: which issuers are believed, and what of their claims.

Checked as RFC 7519 and RFC 8725 ask: the issuer's configuration, never the token, says which
algorithms, audience and tenant are right, and keys in a token's header are not looked at.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, ClassVar
from urllib.parse import urlsplit

import jwt

from services.common.access import Role, Roles
from services.gateway.domain.keys import DEFAULT_ROLES, CredentialInvalid, tenant_id_of
from services.gateway.domain.people import MAX_PRINCIPALS, Person, TooManyPrincipals, is_id

MAX_TOKEN_CHARS = 16_384
REQUIRED = ("exp", "iat", "iss", "aud", "sub")
KEY_TYPES = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), "RSA"),
    **dict.fromkeys(("ES256", "ES384", "ES512"), "EC"),
    "EdDSA": "OKP",
}
# An address that its owner has not shown to be theirs.
_VERIFIED = (True, "true")


@dataclass(frozen=True, slots=True)
class Issuer:
    """An issuer of users' tokens: whose tokens are believed, for which tenant, and how they are read.

    Without `jwks_uri` the keys' address is found by OpenID Connect's discovery. `roles_claim`
    counts where a token has it, `default_roles` where not. Issuers of one tenant share its users.
    """

    # A misspelt setting stops the start.
    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    issuer: str
    audience: str
    tenant: str
    jwks_uri: str = ""
    subject_claim: str = "sub"
    alias_claims: tuple[str, ...] = ()
    groups_claim: str = ""
    roles_claim: str = ""
    default_roles: Roles = DEFAULT_ROLES
    leeway_seconds: float = 30
    algorithms: tuple[str, ...] = ("RS256", "PS256", "ES256", "EdDSA")

    def __post_init__(self) -> None:
        """Raise ValueError unless the configuration is one that can be safe."""
        tenant_id_of(self.tenant)
        if not (self.issuer and self.audience and self.subject_claim):
            raise ValueError("an issuer has an issuer, an audience and a subject_claim")
        if not is_safe(self.jwks_uri or self.issuer):
            raise ValueError("an issuer's keys come over https, or from this machine")
        if not 0 <= self.leeway_seconds <= 300:  # noqa: PLR2004 - five minutes
            raise ValueError("leeway_seconds is 0 to 300")
        if not self.algorithms or not set(self.algorithms) <= set(KEY_TYPES):
            raise ValueError(f"algorithms are some of {', '.join(KEY_TYPES)}")


@dataclass(frozen=True, slots=True)
class Unverified:
    """What a token says of itself, to find out who could verify it."""

    algorithm: str
    key_id: str | None
    issuer: str
    audiences: frozenset[str]


@dataclass(frozen=True, slots=True)
class Verified:
    """What a verified token says of its user; `expires_at` is in Unix seconds."""

    person: Person
    roles: Roles
    expires_at: float


def is_safe(url: str) -> bool:
    """Return whether what is at `url` cannot be changed on its way: https, or this machine's loopback."""
    parts = urlsplit(url)
    return bool(parts.hostname) and (parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(parts)))


def _is_loopback(parts: Any) -> bool:
    try:
        return parts.hostname == "localhost" or ip_address(parts.hostname).is_loopback
    except ValueError:
        return False


def opened(token: str) -> Unverified:
    """Return what `token` says of itself.

    Raises:
        CredentialInvalid: it is too long, or no token.
    """
    if len(token) > MAX_TOKEN_CHARS:
        raise CredentialInvalid("the credential is not valid")
    try:
        parts = jwt.decode_complete(token, options={"verify_signature": False})
        header, claims = parts["header"], parts["payload"]
        audience = claims.get("aud", [])
        audiences = frozenset([audience] if isinstance(audience, str) else audience)
        return Unverified(str(header["alg"]), header.get("kid"), str(claims.get("iss", "")), audiences)
    except Exception as error:
        # Whatever a stranger's bytes do to the parser, they are no token.
        raise CredentialInvalid("the credential is not valid") from error


def fits(key: Mapping[str, Any], algorithm: str) -> bool:
    """Return whether a JSON Web Key may verify signatures of `algorithm`."""
    return (
        key.get("kty") == KEY_TYPES.get(algorithm)
        and key.get("alg", algorithm) == algorithm
        and key.get("use", "sig") == "sig"
        and key.get("key_ops", ["verify"]) == ["verify"]
        and "d" not in key
    )


def verified(token: str, issuer: Issuer, key: Mapping[str, Any]) -> Verified:
    """Return what `token` says of its user, once `key` has verified it.

    Raises:
        CredentialInvalid: anything about it is wrong.
        TooManyPrincipals: its user is in too many groups.
    """
    algorithm = opened(token).algorithm
    if algorithm not in issuer.algorithms or not fits(key, algorithm):
        raise CredentialInvalid("the credential is not valid")
    try:
        claims = jwt.decode(
            token,
            jwt.PyJWK(dict(key), algorithm),
            algorithms=[algorithm],
            audience=issuer.audience,
            issuer=issuer.issuer,
            leeway=issuer.leeway_seconds,
            options={"require": list(REQUIRED), "enforce_minimum_key_length": True},
        )
    except Exception as error:
        raise CredentialInvalid("the credential is not valid") from error
    return _verified(claims, issuer)


def _verified(claims: Mapping[str, Any], issuer: Issuer) -> Verified:
    proven = claims.get("email_verified") in _VERIFIED
    subject = claims.get(issuer.subject_claim)
    if not isinstance(subject, str) or not is_id(subject) or (issuer.subject_claim == "email" and not proven):
        raise CredentialInvalid("the credential is not valid")
    said = [claims.get(claim) for claim in issuer.alias_claims if proven or claim != "email"]
    aliases = [alias for alias in said if isinstance(alias, str) and is_id(alias)]
    names = tuple(dict.fromkeys((subject, *aliases)))
    return Verified(Person(issuer.tenant, names, _groups(claims, issuer)), _roles(claims, issuer), int(claims["exp"]))


def _groups(claims: Mapping[str, Any], issuer: Issuer) -> tuple[str, ...]:
    groups = _texts(claims.get(issuer.groups_claim)) if issuer.groups_claim else ()
    if len(groups) > MAX_PRINCIPALS:
        raise TooManyPrincipals("the user is in more groups than a call can carry", limit=MAX_PRINCIPALS)
    if not all(map(is_id, groups)):
        raise CredentialInvalid("the credential is not valid")
    return groups


def _roles(claims: Mapping[str, Any], issuer: Issuer) -> Roles:
    if not issuer.roles_claim or issuer.roles_claim not in claims:
        return issuer.default_roles
    return frozenset(Role(role) for role in _texts(claims[issuer.roles_claim]) if role in set(Role))


def _texts(value: Any) -> tuple[str, ...]:
    """Return the texts of a claim that is one text, a list of them, or not there.

    Raises:
        CredentialInvalid: it is anything else.
    """
    values = [value] if isinstance(value, str) else value or []
    if not isinstance(values, list) or not all(isinstance(each, str) for each in values):
        raise CredentialInvalid("the credential is not valid")
    return tuple(sorted(set(values)))
