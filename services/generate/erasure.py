"""Erasing people and whole tenants from where answers are made."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from services.common.identity import Identity
from services.generate.answers import Adapters
from services.generate.ports import Engine, ErasedPeople


@dataclass(frozen=True, slots=True)
class Files:
    """What takes a tenant's adapters out of use under aliases, and what removes its files; each says how many.

    `removes` block.
    """

    forget: Callable[[str], int]
    removes: Sequence[Callable[[str], int]]

    def remove(self, tenant_id: str) -> int:
        """Remove a tenant's files, and return how many adapters they were of. Blocks."""
        return sum(remove(tenant_id) for remove in self.removes)


@dataclass(frozen=True, slots=True)
class Erasure:
    """Erases from one replica: its engine, its adapters and their files; who was erased is known to all."""

    engine: Engine
    adapters: Adapters
    people: ErasedPeople
    files: Files

    async def erase_people(self, identity: Identity, principals: Sequence[str]) -> list[str]:
        """Forget people's prompts, and return the names of the tenant's adapters that are stale.

        Raises:
            PermissionsUnavailable, StoreUnavailable, EngineDead: a repeat is needed.
        """
        if await self.people.among(identity, principals) != set(principals):
            # Once: it interrupts every answer that is being written.
            await self.engine.forget_prompts()
            await self.people.add(identity, principals)
        adapters = {name: loaded.adapter for name, loaded in self.adapters.in_use(identity).items()}
        gone = await self.adapters.lineages.gone(identity, adapters)
        return [name for name, lost in gone.items() if lost.stale]

    async def erase_tenant(self, identity: Identity) -> dict[str, int]:
        """Unload the tenant's adapters, remove their files, forget all prompts, and return what was removed.

        Raises:
            StoreUnavailable, EngineDead: a repeat is needed.
        """
        shelf = self.adapters.shelf
        names = list(shelf.adapters(identity))
        for name in names:
            await shelf.unload(identity, name)
        registered = self.files.forget(identity.tenant_id)
        files = await asyncio.to_thread(self.files.remove, identity.tenant_id)
        await self.people.forget(identity)
        await self.engine.forget_prompts()
        counts = {"adapters": len(names) + registered, "adapter files": files}
        return {kind: count for kind, count in counts.items() if count}
