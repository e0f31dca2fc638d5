"""What the service needs of others: an index of passages, and an embedder of queries."""

from collections.abc import Collection, Mapping
from typing import Protocol

from services.common.client import CallOptions
from services.common.errors import Unavailable
from services.common.identity import Identity
from services.retrieve.domain import Embedded, Found, Search


class IndexUnavailable(Unavailable):
    """The passage index does not answer."""

    reason = "INDEX_UNAVAILABLE"
    retry_seconds = 1.0


class EmbedderUnavailable(Unavailable):
    """The embed service does not answer."""

    reason = "EMBEDDER_UNAVAILABLE"
    retry_seconds = 1.0


class PassageIndex(Protocol):
    """Chunks, searched by meaning and by words at once."""

    async def search(self, search: Search) -> Found:
        """Return the chunks that the search's principals may read and the filter lets through, best first.

        A tenant that has no index yet, or nobody to read as, gets no hits.

        Raises:
            IndexUnavailable: the index does not answer.
        """
        ...


class QueryEmbedder(Protocol):
    """Queries as vectors of the model that the index was built with."""

    async def embed(self, text: str, call: CallOptions, model: str = "") -> Embedded:
        """Return the vector of `text`; `call` is what a call to another service carries.

        `model` is the model's name; "" is the deployment's own.

        Raises:
            EmbedderUnavailable: the embedder does not answer.
        """
        ...


class Readership(Protocol):
    """Who may read what now, whatever the index says.

    Every method raises PermissionsUnavailable when it cannot be told.
    """

    async def sets_of(self, identity: Identity) -> tuple[str, ...]:
        """Return, as principals of the index, the sets of readers that `identity` is in."""
        ...

    async def readable(self, identity: Identity, document_ids: Collection[str]) -> Mapping[str, bool]:
        """Return those of the documents that `identity` may read, each with whether everybody in the tenant may."""
        ...
