"""What the service needs of others: an index of passages, and an embedder of queries."""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from services.common.client import CallOptions
from services.common.errors import Unavailable
from services.common.identity import Identity
from services.retrieve.domain.hits import Embedded, Found, Hit, Reader, Search, Section
from services.retrieve.domain.tuning import KeptTuning, Tuning


class IndexUnavailable(Unavailable):
    """The passage index does not answer."""

    reason = "INDEX_UNAVAILABLE"
    retry_seconds = 1.0


class EmbedderUnavailable(Unavailable):
    """The embed service does not answer."""

    reason = "EMBEDDER_UNAVAILABLE"
    retry_seconds = 1.0


class RerankerUnavailable(Unavailable):
    """The reranker is not there, or does not answer."""

    reason = "RERANKER_UNAVAILABLE"


class PassageIndex(Protocol):
    """Chunks, searched by meaning and by words at once, and read by what they are.

    Nothing comes that the reader's principals may not read. Every method raises IndexUnavailable
    when the index does not answer.
    """

    async def search(self, search: Search) -> Found:
        """Return the chunks that either leg finds and the filter lets through, with what each leg says of them.

        A tenant that has no index yet, or nobody to read as, gets no hits.
        """
        ...

    async def chunks(self, reader: Reader, model: str, chunk_ids: Sequence[str]) -> Found:
        """Return those of the chunks that are there, in no order."""
        ...

    async def sections(self, reader: Reader, model: str, sections: Sequence[Section]) -> Sequence[Hit]:
        """Return the chunks of `sections` that are there, in no order."""
        ...

    async def document(self, reader: Reader, model: str, document_id: str, sources: Sequence[str]) -> Found:
        """Return a document's first MOST_CHUNKS chunks, in no order; none where it is of none of the `sources`.

        No sources are all of them.
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


class Reranker(Protocol):
    """A cross-encoder: reads a query and a text together."""

    async def scores(self, reranker: str, query: str, texts: Sequence[str]) -> Sequence[float]:
        """Return how well each text answers `query`, from 0 to 1.

        `reranker` is a digest, or "" for the deployment's own.

        It may be cancelled at any moment: whoever calls it has no more time.

        Raises:
            RerankerUnavailable: there is none of this digest, or it failed.
        """
        ...


class Tunings(Protocol):
    """Each tenant's tunings, every version. Every method raises TuningUnavailable when they cannot be read."""

    async def live(self, identity: Identity) -> KeptTuning:
        """Return the newest version; NONE_PUT where there is none."""
        ...

    async def version(self, identity: Identity, version: int) -> KeptTuning:
        """Return one version.

        Raises:
            TuningNotFound: the tenant has none such.
        """
        ...

    async def before(self, identity: Identity, version: int | None, limit: int) -> Sequence[KeptTuning]:
        """Return at most `limit` versions under `version`, or of all, newest first."""
        ...

    async def put(self, identity: Identity, tuning: Tuning, expected: int) -> KeptTuning:
        """Keep `tuning` as the version after `expected`.

        Raises:
            TuningChanged: the newest version is another.
        """
        ...
