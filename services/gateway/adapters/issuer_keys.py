"""The signing keys of issuers: fetched when a token needs them, remembered, and asked for again sparingly."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

import httpx
import orjson
import structlog

from services.common.errors import Unavailable
from services.gateway.domain.tokens import Issuer, fits, is_safe
from services.gateway.metrics import ISSUER_FETCHES

DISCOVERY = "/.well-known/openid-configuration"
FETCH_SECONDS = 3.0
MAX_BYTES = 256 * 1024
LIFETIME_SECONDS = 300.0
# However many tokens name a key that is not known, the issuer is asked this seldom.
COOL_DOWN_SECONDS = 5.0
# How long keys are believed while their issuer does not answer.
KEPT_SECONDS = 3600.0

log = structlog.get_logger()


class IssuerUnavailable(Unavailable):
    """The issuer's keys cannot be fetched now, and none that are remembered will do."""

    reason = "ISSUER_UNAVAILABLE"
    retry_seconds = COOL_DOWN_SECONDS


@contextlib.asynccontextmanager
async def open_issuers(issuers: Sequence[Issuer]) -> "AsyncIterator[Sequence[tuple[Issuer, IssuerKeys]]]":
    """Give each issuer with its keys; they need not be there yet."""
    async with httpx.AsyncClient(timeout=FETCH_SECONDS) as client:
        yield [(issuer, IssuerKeys(client, issuer)) for issuer in issuers]


class _BadAnswer(ValueError):
    """What the issuer answered is not what it must answer."""


class IssuerKeys:
    """One issuer's public keys, as JSON Web Keys (RFC 7517).

    All who miss a key at once wait for one fetch. While the issuer is away, the keys that it last
    gave are good for an hour, and nobody waits for it.
    """

    def __init__(self, client: httpx.AsyncClient, issuer: Issuer, now: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._issuer = issuer
        self._now = now
        self._keys: list[Mapping[str, Any]] = []
        self._fetched_at = float("-inf")
        self._asked_at = float("-inf")
        self._away = False
        self._fetching: asyncio.Task[None] | None = None

    async def find(self, key_id: str | None, algorithm: str) -> Mapping[str, Any] | None:
        """Return the key of this id that verifies `algorithm`; without an id, the only one that does.

        Raises:
            IssuerUnavailable: it is not known, and the issuer does not answer.
        """
        found = self._known(key_id, algorithm)
        if found is None or self._age() >= LIFETIME_SECONDS:
            fetching = self._fetch()
            if fetching and not (found and self._away):
                await asyncio.shield(fetching)
            found = self._known(key_id, algorithm)
        if found is None and self._away:
            raise IssuerUnavailable("the issuer of the token cannot be asked for its keys")
        return found

    def _known(self, key_id: str | None, algorithm: str) -> Mapping[str, Any] | None:
        if self._age() >= KEPT_SECONDS:
            return None
        found = [key for key in self._keys if fits(key, algorithm) and (key_id is None or key_id == key.get("kid"))]
        return found[0] if len(found) == 1 else None

    def _age(self) -> float:
        return self._now() - self._fetched_at

    def _fetch(self) -> asyncio.Task[None] | None:
        """Return the fetch under way, or begin one; none so soon after the last."""
        if self._fetching and not self._fetching.done():
            return self._fetching
        if self._now() - self._asked_at < COOL_DOWN_SECONDS:
            return None
        self._asked_at = self._now()
        self._fetching = asyncio.create_task(self._renew())
        return self._fetching

    async def _renew(self) -> None:
        try:
            async with asyncio.timeout(FETCH_SECONDS):
                self._keys = await self._ask()
            self._fetched_at, self._away = self._now(), False
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, _BadAnswer) as error:
            self._away = True
            log.warning("issuer_unavailable", issuer=self._issuer.issuer, error=type(error).__name__)
        ISSUER_FETCHES.labels("failed" if self._away else "fetched").inc()

    async def _ask(self) -> list[Mapping[str, Any]]:
        address = self._issuer.jwks_uri or await self._discover()
        keys = (await self._get(address)).get("keys")
        if not isinstance(keys, list):
            raise _BadAnswer("the issuer's keys are no list")
        return [key for key in keys if isinstance(key, dict)]

    async def _discover(self) -> str:
        found = await self._get(self._issuer.issuer.rstrip("/") + DISCOVERY)
        address = found.get("jwks_uri")
        if found.get("issuer") != self._issuer.issuer or not isinstance(address, str) or not is_safe(address):
            raise _BadAnswer("the discovered configuration is not this issuer's")
        return address

    async def _get(self, address: str) -> Mapping[str, Any]:
        body = b""
        # A redirect could lead anywhere: it is an answer like any other that is not 200.
        async with self._client.stream("GET", address, follow_redirects=False) as response:
            if response.status_code != httpx.codes.OK:
                raise _BadAnswer("the issuer answered otherwise than with its keys")
            async for piece in response.aiter_bytes():
                body += piece
                if len(body) > MAX_BYTES:
                    raise _BadAnswer("the issuer's answer is too long")
        try:
            answer = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise _BadAnswer("the issuer's answer is no JSON") from error
        if not isinstance(answer, dict):
            raise _BadAnswer("the issuer's answer is no object")
        return answer
