"""The ports of `embed` in this process's memory: for tests, and for trying things out."""

import hashlib
from collections.abc import Sequence

import numpy as np

from services.common.identity import Identity
from services.embed.domain import Passage, StoredPassage, Vector


class MemoryPassageIndex:
    """Passages by tenant and id."""

    def __init__(self) -> None:
        self._tenants: dict[str, dict[str, Passage]] = {}

    async def ping(self) -> None:
        """Answer."""

    async def stored(self, identity: Identity, document_ids: Sequence[str]) -> list[StoredPassage]:
        """Return what is stored of the documents."""
        wanted = set(document_ids)
        return [
            StoredPassage(
                id=passage.id,
                document_id=passage.change.document_id,
                version=passage.change.version,
                ordinal=passage.ordinal,
                content_digest=passage.change.content_digest,
                is_suspicious=bool(passage.chunk.suspicions),
            )
            for passage in self._tenants.get(identity.tenant_id, {}).values()
            if passage.change.document_id in wanted
        ]

    async def passages(self, identity: Identity, ids: Sequence[str]) -> list[Passage]:
        """Return whole passages; ids that are not there are left out."""
        known = self._tenants.get(identity.tenant_id, {})
        return [known[id_] for id_ in ids if id_ in known]

    async def upsert(self, identity: Identity, passages: Sequence[Passage]) -> None:
        """Write passages, replacing those with the same ids."""
        self._tenants.setdefault(identity.tenant_id, {}).update((passage.id, passage) for passage in passages)

    async def delete(self, identity: Identity, ids: Sequence[str]) -> None:
        """Remove passages; ids that are not there are no error."""
        for id_ in ids:
            self._tenants.get(identity.tenant_id, {}).pop(id_, None)

    async def drop(self, identity: Identity) -> int:
        """Remove everything of the tenant, and return how many passages that was."""
        return len(self._tenants.pop(identity.tenant_id, {}))


class MemoryEmbedder:
    """Gives each text a direction of its own, the same every time; knows nothing of meaning."""

    def __init__(self, dimensions: int = 8) -> None:
        self.dimensions = dimensions

    def embed(self, texts: Sequence[str]) -> Vector:
        """Return unit vectors, float32, shape (len(texts), dimensions)."""
        seeds = (int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) for text in texts)
        vectors = np.array([np.random.default_rng(seed).standard_normal(self.dimensions) for seed in seeds])
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


class WordTokens:
    """A token a word."""

    special = 2
    most = 8192

    def counts(self, texts: Sequence[str]) -> list[int]:
        """Return each text's number of words."""
        return [len(text.split()) for text in texts]
