"""Takes adapters that were trained elsewhere into the registry."""

import asyncio
import shutil
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from services.common.identity import Identity
from services.common.lora.card import Card
from services.common.lora.checks import BaseModel
from services.common.lora.errors import AdapterAltered, InvalidAdapter
from services.common.lora.places import Places, checked_files
from services.common.lora.signing import AdapterSigner
from services.common.lora.store import AdapterStore, digest_of
from services.tune.adapters.registry import PostgresAdapters
from services.tune.domain.adapters import RegisteredAdapter
from services.tune.domain.registry import KeptAdapter
from services.tune.domain.runs import Lineage

MAX_URI_CHARS = 2_000


@dataclass(frozen=True, slots=True)
class Shelter:
    """Where imports come from, where they are checked, and where they stay; `base` is the model that is served."""

    places: Places
    cache: Path
    store: AdapterStore
    signer: AdapterSigner
    base: Callable[[], BaseModel]


class Importer:
    """Copies, checks, signs and registers adapters."""

    def __init__(self, adapters: PostgresAdapters, shelter: Shelter, now: Callable[[], datetime]) -> None:
        self._adapters = adapters
        self._shelter = shelter
        self._now = now

    async def take(self, identity: Identity, uri: str, digest: str) -> KeptAdapter:
        """Register the adapter at `uri` for the caller's tenant, and return what is registered.

        Raises:
            AdapterNotFound: there is nothing at `uri`.
            InvalidAdapter: it may not be read, or is none that the engine can run.
            AdapterAltered: it is not the one of `digest`, where one was asked for.
            AdapterMissing: the blob store cannot be reached.
        """
        if len(uri) > MAX_URI_CHARS:
            raise InvalidAdapter("the URI is too long", limit=MAX_URI_CHARS)
        folder = self._shelter.cache / uuid.uuid4().hex
        await asyncio.to_thread(folder.mkdir, parents=True)
        try:
            entry = await asyncio.to_thread(self._checked, identity, uri, digest, folder)
            await self._shelter.store.publish(folder, _card_of(entry), self._shelter.signer)
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        await self._adapters.register(entry)
        return await self._adapters.find(identity.tenant_id, entry.digest)

    def _checked(self, identity: Identity, uri: str, digest: str, folder: Path) -> RegisteredAdapter:
        self._shelter.places.copy(identity, uri, folder)
        base = self._shelter.base()
        rank, lineage = checked_files(folder, base)
        found = digest_of(folder)
        if digest not in {"", found}:
            raise AdapterAltered("the adapter has another digest than was asked for", digest=found)
        return RegisteredAdapter(
            tenant_id=identity.tenant_id,
            digest=found,
            run_id="",
            base=base.name,
            rank=rank,
            method="import",
            dataset="",
            parent="",
            seed=0,
            lineage=Lineage(lineage.documents, lineage.users),
            owner=identity.subject,
            created_at=self._now(),
        )


def _card_of(entry: RegisteredAdapter) -> Card:
    return Card(
        digest=entry.digest,
        tenant_id=entry.tenant_id,
        run_id=entry.run_id,
        base_model=entry.base,
        rank=entry.rank,
        method=entry.method,
        dataset=entry.dataset,
        parent=entry.parent,
        seed=entry.seed,
        created_at=entry.created_at.isoformat(),
    )
