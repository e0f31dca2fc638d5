"""Adapters of the registry: fetched by digest from the blob store, verified, and checked against the base model."""

import asyncio
import shutil
from pathlib import Path

from services.common.lora.card import Card
from services.common.lora.checks import BaseModel, model_name
from services.common.lora.errors import InvalidAdapter
from services.common.lora.signing import AdapterVerifier
from services.common.lora.store import AdapterStore, tenant_folder
from services.generate.adapters.files import adapter_in
from services.generate.ports import Registered


class RegisteredFiles:
    """Fetches adapters for one base model into a folder by tenant and digest."""

    def __init__(self, store: AdapterStore, verifier: AdapterVerifier, cache: Path, base: BaseModel) -> None:
        self._store = store
        self._verifier = verifier
        self._cache = cache / "registered"
        self._base = base

    def tidy(self) -> None:
        """Remove what a process that was killed had not fetched whole. Blocks."""
        for left in self._cache.glob(".*"):
            shutil.rmtree(left, ignore_errors=True)

    async def fetch(self, tenant_id: str, digest: str) -> Registered:
        """Return a tenant's adapter, which is verified whether it was here already or not.

        Raises:
            AdapterMissing: the store does not hold it, or cannot be reached.
            AdapterAltered: what the store holds is not what was published.
            AdapterUntrusted: nobody who is trusted signed it.
            InvalidAdapter: the engine cannot run it.
        """
        folder, card = await self._store.fetch(tenant_id, digest, self._cache, self._verifier)
        return await asyncio.to_thread(self._checked, folder, card)

    def remove(self, tenant_id: str) -> int:
        """Remove all of a tenant's adapters from this disk, and return how many there were. Blocks."""
        own = self._cache / tenant_folder(tenant_id)
        folders = list(own.glob("*"))
        shutil.rmtree(own, ignore_errors=True)
        return len(folders)

    def _checked(self, folder: Path, card: Card) -> Registered:
        if card.base_model and model_name(card.base_model) != self._base.name:
            raise InvalidAdapter("trained on another base model", base_model=self._base.name)
        return Registered(adapter_in(folder, card.digest, self._base), card.probe)
