"""What adapters learnt from: who may therefore be answered by one, and what of it is gone since."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from services.common.identity import Identity
from services.common.lora.checks import Adapter
from services.common.recent import Recent
from services.generate.domain.errors import AdapterNotPermitted
from services.generate.ports import ErasedPeople, Readership
from services.generate.shelf import Loaded

REMEMBER_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Gone:
    """What an adapter learnt from and is not there any more, in order."""

    document_ids: tuple[str, ...]
    users: tuple[str, ...]

    @property
    def stale(self) -> bool:
        """Whether anything is."""
        return bool(self.document_ids or self.users)


@dataclass(frozen=True, slots=True)
class _Question:
    identity: Identity
    digest: str
    documents: tuple[str, ...] = field(compare=False)


class Lineages:
    """Looks up what became of what adapters learnt from.

    Every method raises PermissionsUnavailable or StoreUnavailable when it cannot be told.
    """

    def __init__(self, readership: Readership, erased: ErasedPeople) -> None:
        self._readership = readership
        self._erased = erased
        self._covered = Recent(self._covers, REMEMBER_SECONDS)

    async def check(self, identity: Identity, loaded: Loaded) -> None:
        """Check that `identity` may be answered from what the adapter learnt, as it was half a second ago at most.

        Raises:
            AdapterNotPermitted: it is not cleared, and the caller may not read each of its documents, or,
                where none are known, has not loaded it.
        """
        if loaded.cleared:
            return
        documents = loaded.adapter.lineage.documents
        if not documents:
            permitted = identity.subject == loaded.owner
        else:
            permitted = await self._covered.get(_Question(identity, loaded.adapter.digest, documents))
        if not permitted:
            raise AdapterNotPermitted("the adapter learnt from what the caller may not read")

    async def gone(self, identity: Identity, adapters: Mapping[str, Adapter]) -> dict[str, Gone]:
        """Return, for each of the tenant's adapters by name, what of its lineage is gone."""
        documents = {one for adapter in adapters.values() for one in adapter.lineage.documents}
        users = {one for adapter in adapters.values() for one in adapter.lineage.users}
        existing = await self._readership.existing(identity, documents) if documents else set()
        erased = await self._erased.among(identity, users) if users else set()
        return {
            name: Gone(
                tuple(one for one in adapter.lineage.documents if one not in existing),
                tuple(one for one in adapter.lineage.users if one in erased),
            )
            for name, adapter in adapters.items()
        }

    async def _covers(self, question: _Question) -> bool:
        readable = await self._readership.readable(question.identity, question.documents)
        return all(document_id in readable for document_id in question.documents)
