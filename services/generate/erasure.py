"""Erasing people and whole tenants from where answers are made."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from services.common.identity import Identity
from services.generate.lineages import Lineages
from services.generate.ports import Engine, ErasedPeople
from services.generate.shelf import AdapterShelf


@dataclass(frozen=True, slots=True)
class Erasure:
    """Erases from one replica: its engine, its adapters and their files; who was erased is known to all."""

    engine: Engine
    shelf: AdapterShelf
    lineages: Lineages
    people: ErasedPeople
    remove_files: Callable[[Identity], int]

    async def erase_people(self, identity: Identity, principals: Sequence[str]) -> list[str]:
        """Forget people's prompts, and return the names of the tenant's adapters that are stale.

        Raises:
            PermissionsUnavailable, StoreUnavailable, EngineDead: a repeat is needed.
        """
        if await self.people.among(identity, principals) != set(principals):
            # Once: it interrupts every answer that is being written.
            await self.engine.forget_prompts()
            await self.people.add(identity, principals)
        adapters = {name: loaded.adapter for name, loaded in self.shelf.adapters(identity).items()}
        return [name for name, gone in (await self.lineages.gone(identity, adapters)).items() if gone.stale]

    async def erase_tenant(self, identity: Identity) -> dict[str, int]:
        """Unload the tenant's adapters, remove their files, forget all prompts, and return what was removed.

        Raises:
            StoreUnavailable, EngineDead: a repeat is needed.
        """
        names = list(self.shelf.adapters(identity))
        for name in names:
            await self.shelf.unload(identity, name)
        files = await asyncio.to_thread(self.remove_files, identity)
        await self.people.forget(identity)
        await self.engine.forget_prompts()
        counts = {"adapters": len(names), "adapter files": files}
        return {kind: count for kind, count in counts.items() if count}
