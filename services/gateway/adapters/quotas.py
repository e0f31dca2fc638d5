"""Counts what tenants and keys use, in any storage that the package `limits` knows."""

import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass

import structlog
from limits import RateLimitItem, RateLimitItemPerMinute
from limits.aio.storage import Storage
from limits.aio.strategies import FixedWindowRateLimiter, SlidingWindowCounterRateLimiter
from limits.errors import StorageError
from limits.storage import storage_from_string

from services.common.errors import Unavailable
from services.common.identity import Identity
from services.common.quotas import UNLIMITED, Quota, QuotaExceeded, Quotas, Scope, TenantQuotas, refused
from services.common.recent import Recent
from services.gateway.domain.keys import StoredKey

KEY = "key:"
# A stream ends when it ends: this is only when it is worth trying again.
STREAM_RETRY_SECONDS = 1.0

log = structlog.get_logger()


class QuotasUnavailable(Unavailable):
    """The storage that counts what is used cannot be reached."""

    reason = "QUOTAS_UNAVAILABLE"


@dataclass(frozen=True, slots=True)
class Counted:
    """Whose use is counted, under which name, and what they may use."""

    scope: Scope
    name: str
    quotas: Quotas


# Finds what a key may use beside its tenant, by the key's id.
KeyQuotas = Callable[[str], Awaitable[Quotas]]


@dataclass(slots=True)
class Use:
    """What one answer uses; `tokens` is asked when it ends."""

    tokens: Callable[[], int] = int


class Meter:
    """Holds tenants and keys to their quotas. The key's comes first: its refused calls cost its tenant nothing.

    Requests are counted in a window that slides over a minute, tokens in a minute that begins with
    the first of them, both in `storage`; streams in this process.
    """

    def __init__(
        self, storage: Storage, tenants: TenantQuotas, of_key: KeyQuotas, now: Callable[[], float] = time.time
    ) -> None:
        self._requests = SlidingWindowCounterRateLimiter(storage)
        self._tokens = FixedWindowRateLimiter(storage)
        self._streams: Counter[tuple[Scope, str]] = Counter()
        self._tenants = tenants
        self._of_key = of_key
        self._now = now

    async def request(self, identity: Identity) -> None:
        """Count a call that is not free.

        Raises:
            QuotaExceeded: the key or the tenant may make no more for now.
            QuotasUnavailable: it cannot be counted.
        """
        for counted in await self._counted(identity):
            await self._count_request(counted)

    @contextlib.asynccontextmanager
    async def answer(self, identity: Identity) -> AsyncIterator[Use]:
        """Count an answer that streams while this lasts, and what it uses when it is over.

        Raises:
            QuotaExceeded: the key or the tenant may have no more for now.
            QuotasUnavailable: it cannot be counted.
        """
        both, use = await self._counted(identity), Use()
        for counted in both:
            await self._check_tokens(counted)
        with contextlib.ExitStack() as streams:
            for counted in both:
                streams.enter_context(self._streaming(counted))
            for counted in both:
                await self._count_request(counted)
            try:
                yield use
            finally:
                streams.close()
                for counted in both:
                    await self._charge(counted, use.tokens())

    async def _counted(self, identity: Identity) -> list[Counted]:
        tenant = Counted(Scope.TENANT, identity.tenant_id, self._tenants.of(identity.tenant_id))
        key_id = key_id_of(identity)
        if key_id is None:
            return [tenant]
        return [Counted(Scope.KEY, f"{identity.tenant_id}/{key_id}", await self._of_key(key_id)), tenant]

    async def _count_request(self, counted: Counted) -> None:
        limit = counted.quotas.requests_per_minute
        if not limit:
            return
        item, name = RateLimitItemPerMinute(limit), (Quota.REQUESTS.value, counted.scope.value, counted.name)
        with _reaching():
            if not await self._requests.hit(item, *name):
                raise self._refusal(
                    Quota.REQUESTS, counted, limit, (await self._requests.get_window_stats(item, *name))[0]
                )

    async def _check_tokens(self, counted: Counted) -> None:
        limit = counted.quotas.tokens_per_minute
        if not limit:
            return
        item, name = _tokens_of(counted)
        with _reaching():
            if not await self._tokens.test(item, *name):
                raise self._refusal(Quota.TOKENS, counted, limit, (await self._tokens.get_window_stats(item, *name))[0])

    async def _charge(self, counted: Counted, tokens: int) -> None:
        if not (tokens and counted.quotas.tokens_per_minute):
            return
        item, name = _tokens_of(counted)
        try:
            with _reaching():
                await self._tokens.hit(item, *name, cost=tokens)
        except QuotasUnavailable:
            # The answer is given already: what it cost is all that is lost.
            log.warning("tokens_not_charged", tokens=tokens, scope=counted.scope.value)

    def _refusal(self, quota: Quota, counted: Counted, limit: int, again_at: float) -> QuotaExceeded:
        """Return what to raise; `again_at` is Unix time."""
        return refused(QuotaExceeded(quota, limit, max(0.001, again_at - self._now()), counted.scope))

    @contextlib.contextmanager
    def _streaming(self, counted: Counted) -> Iterator[None]:
        limit, name = counted.quotas.concurrent_streams, (counted.scope, counted.name)
        if not limit:
            yield
            return
        if self._streams[name] >= limit:
            raise refused(QuotaExceeded(Quota.STREAMS, limit, STREAM_RETRY_SECONDS, counted.scope))
        self._streams[name] += 1
        try:
            yield
        finally:
            self._streams[name] -= 1
            if not self._streams[name]:
                del self._streams[name]


def quotas_of(keys: Recent[str, StoredKey | None]) -> KeyQuotas:
    """Return what finds a key's quotas; a key that is not there is unlimited, for it calls nothing."""

    async def find(key_id: str) -> Quotas:
        key = await keys.get(key_id)
        return key.quota if key else UNLIMITED

    return find


def open_storage(uri: str) -> Storage:
    """Return the storage at `uri`, one of the package `limits`, such as "async+memory://"."""
    storage = storage_from_string(uri, wrap_exceptions=True)
    if not isinstance(storage, Storage):
        raise TypeError("the storage of quotas must be an async one: async+SCHEME://…")
    return storage


def key_id_of(identity: Identity) -> str | None:
    """Return the id of the key that the call came with; None where it came with none."""
    callers = (identity.actor, identity.subject)
    return next((each.removeprefix(KEY) for each in callers if each.startswith(KEY)), None)


def _tokens_of(counted: Counted) -> tuple[RateLimitItem, tuple[str, str, str]]:
    name = (Quota.TOKENS.value, counted.scope.value, counted.name)
    return RateLimitItemPerMinute(counted.quotas.tokens_per_minute), name


@contextlib.contextmanager
def _reaching() -> Iterator[None]:
    try:
        yield
    except StorageError as error:
        raise QuotasUnavailable("the quotas cannot be counted now") from error
