"""Puts contents where the rest of the platform finds them."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from services.common.blobs import Blobs
from services.common.database import Sessions
from services.common.identity import Identity
from services.ingest.adapters import blobs as rows
from services.ingest.adapters.postgres import transaction
from services.ingest.errors import ContentsUnavailable

MAX_PUTS = 8


@dataclass(frozen=True, slots=True)
class Stored:
    """A content in the store, as long as its row has the generation."""

    blob_key: str
    content_digest: str
    generation: int


class Contents:
    """The blob store, as ingest writes it. A content's row is committed before the content is put."""

    def __init__(self, blobs: Blobs, sessions: Sessions, now: Callable[[], datetime]) -> None:
        self._blobs = blobs
        self._sessions = sessions
        self._now = now

    async def put(self, identity: Identity, contents: Sequence[bytes]) -> list[Stored]:
        """Store a tenant's contents and return where each of them is.

        Raises:
            ContentsUnavailable: the store did not take one of them.
        """
        keys = await asyncio.to_thread(lambda: [Blobs.key_of(identity.tenant_id, content) for content in contents])
        sizes = {key: len(content) for key, content in zip(keys, contents, strict=True)}
        async with transaction(self._sessions) as session:
            generations = await rows.announce(session, identity.tenant_id, sizes, self._now())
        puts = asyncio.Semaphore(MAX_PUTS)
        try:
            await asyncio.gather(*(self._put(puts, identity, content) for content in contents))
        except OSError as error:
            raise ContentsUnavailable("the content cannot be stored") from error
        return [Stored(key, key.rpartition("/")[2], generations[key]) for key in keys]

    async def _put(self, puts: asyncio.Semaphore, identity: Identity, content: bytes) -> None:
        async with puts:
            await self._blobs.put(identity.tenant_id, content)
