"""What `embed` needs from outside: an embedding model, its tokenizer, a parser, and the index."""

from collections.abc import Sequence
from typing import Protocol

from services.common.identity import Identity
from services.embed.domain import Change, ParsedDocument, Passage, StoredPassage, Vector


class Embedder(Protocol):
    """A model that gives texts their vectors; called from one thread at a time."""

    @property
    def dimensions(self) -> int:
        """The length of each vector."""

    def embed(self, texts: Sequence[str]) -> Vector:
        """Return unit vectors, float32, shape (len(texts), dimensions)."""


class Tokens(Protocol):
    """Counts tokens as the embedding model does."""

    @property
    def special(self) -> int:
        """How many tokens the model adds to each text."""

    @property
    def most(self) -> int:
        """How many tokens of a text the model reads, special ones with them."""

    def counts(self, texts: Sequence[str]) -> list[int]:
        """Return each text's number of tokens, special ones left out."""


class DocumentParser(Protocol):
    """Reads files that may be hostile."""

    async def parse(self, content: bytes, change: Change) -> ParsedDocument:
        """Return the document in `content`.

        Raises:
            DocumentRejected: it can never be read.
        """


class PassageIndex(Protocol):
    """The index of one embedding model, by the tenant of whom it is asked for.

    Every method raises IndexUnavailable where trying again may help.
    """

    async def ping(self) -> None:
        """Raise unless the index answers."""

    async def stored(self, identity: Identity, document_ids: Sequence[str]) -> list[StoredPassage]:
        """Return what is stored of the documents; all that was written before is seen."""

    async def passages(self, identity: Identity, ids: Sequence[str]) -> list[Passage]:
        """Return whole passages, with vectors; ids that are not there are left out."""

    async def upsert(self, identity: Identity, passages: Sequence[Passage]) -> None:
        """Write passages, replacing those with the same ids."""

    async def delete(self, identity: Identity, ids: Sequence[str]) -> None:
        """Remove passages; ids that are not there are no error."""

    async def drop(self, identity: Identity) -> int:
        """Remove everything of the tenant, and return how many passages that was; a repeat removes none."""
