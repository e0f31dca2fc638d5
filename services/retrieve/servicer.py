"""The gRPC face of retrieval."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from google.protobuf.struct_pb2 import Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp
from tandem.retrieve.v1 import retrieve_service_pb2 as pb
from tandem.retrieve.v1 import retrieve_service_pb2_grpc

from services.common.analysis import question_stems
from services.common.client import Outgoing
from services.common.identity import Identity, caller
from services.retrieve.choice import IndexChoice
from services.retrieve.domain import (
    Embedded,
    Filter,
    Hit,
    InvalidFilter,
    Passage,
    Scalar,
    Search,
    passages_of,
    query_of,
)
from services.retrieve.metrics import EMBED, HITS_WITHHELD, PERMISSIONS, SEARCH, SETS, answered, stage
from services.retrieve.ports import PassageIndex, QueryEmbedder, Readership

EMBED_SECONDS = 5.0

# The years 1 to 9999, as protobuf's Timestamp has them.
_MIN_SECONDS, _MAX_SECONDS = -62_135_596_800, 253_402_300_799
_NANOS = 1_000_000_000


class RetrieveServicer(retrieve_service_pb2_grpc.RetrieveServiceServicer):
    """Embeds a query, searches the caller's index with it, and merges what the caller may still read of it."""

    def __init__(
        self,
        embedder: QueryEmbedder,
        index: PassageIndex,
        readership: Readership,
        outgoing: Outgoing,
        choice: IndexChoice,
    ) -> None:
        self._embedder = embedder
        self._index = index
        self._readership = readership
        self._outgoing = outgoing
        self._choice = choice

    async def Retrieve(self, request: pb.RetrieveRequest, context: Any) -> pb.RetrieveResponse:
        identity = caller()
        query = query_of(request.query, request.top_k, _filter_of(request.filter))
        chosen = await self._choice.of(identity, other=request.other_index)
        stems = tuple(question_stems(query.text, chosen.languages))
        # Where one fails the other ends by itself: both have limits of seconds.
        embedding = self._embedded(query.text, chosen.model, identity, context)
        embedded, sets = await asyncio.gather(embedding, self._sets(identity))
        with stage(SEARCH):
            found = await self._index.search(Search(identity, sets, query, embedded, stems, chosen.key))
        public = await self._readable(identity, found.hits)
        passages = passages_of([hit for hit in found.hits if hit.document_id in public], query.top_k)
        answered(len(passages))
        return pb.RetrieveResponse(
            passages=[_message(passage, public[passage.first.document_id]) for passage in passages],
            index_version=found.index_version,
            model=embedded.model,
        )

    async def _embedded(self, text: str, model: str, identity: Identity, context: Any) -> Embedded:
        # What a text means is the same for every reader, and principals can be many.
        bare = replace(identity, principals=())
        with stage(EMBED):
            return await self._embedder.embed(text, self._outgoing(bare, context, EMBED_SECONDS), model)

    async def _sets(self, identity: Identity) -> tuple[str, ...]:
        with stage(SETS):
            return await self._readership.sets_of(identity)

    async def _readable(self, identity: Identity, hits: Sequence[Hit]) -> Mapping[str, bool]:
        """Return the documents of `hits` that the caller may read now, each with whether everybody may."""
        with stage(PERMISSIONS):
            readable = await self._readership.readable(identity, {hit.document_id for hit in hits})
        HITS_WITHHELD.inc(sum(hit.document_id not in readable for hit in hits))
        return readable


def _filter_of(message: pb.RetrieveFilter) -> Filter:
    return Filter(
        sources=tuple(message.sources),
        changed_after_ms=_milliseconds(message.changed_after) if message.HasField("changed_after") else None,
        changed_before_ms=_milliseconds(message.changed_before) if message.HasField("changed_before") else None,
        metadata={name: _scalar(value) for name, value in message.metadata.fields.items()},
    )


def _milliseconds(timestamp: Timestamp) -> int:
    if not (_MIN_SECONDS <= timestamp.seconds <= _MAX_SECONDS and 0 <= timestamp.nanos < _NANOS):
        raise InvalidFilter("a time is outside of the years 1 to 9999")
    # Rounded up: the index holds whole milliseconds, and both bounds compare the same way then.
    return timestamp.seconds * 1000 - (-timestamp.nanos // 1_000_000)


def _scalar(value: Value) -> Scalar:
    match value.WhichOneof("kind"):
        case "string_value":
            return value.string_value
        case "number_value":
            return value.number_value
        case "bool_value":
            return value.bool_value
    raise InvalidFilter("metadata compares with strings, numbers and booleans only")


def _message(passage: Passage, public: bool) -> pb.Passage:  # noqa: FBT001 - a fact about the passage, not a switch
    first, best = passage.first, passage.best
    return pb.Passage(
        chunk_id=best.chunk_id,
        document_id=first.document_id,
        document_version=first.version,
        source_id=first.source_id,
        source_name=first.source_name,
        title=first.title,
        uri=first.uri,
        headings=first.headings,
        text=passage.text,
        start_offset=first.start_offset,
        end_offset=passage.end_offset,
        score=best.score,
        changed_at=Timestamp(seconds=first.changed_at_ms // 1000, nanos=first.changed_at_ms % 1000 * 1_000_000),
        metadata=_struct(first.metadata),
        page=first.page,
        restricted=not public,
        suspicions=passage.suspicions,
    )


def _struct(values: Mapping[str, object]) -> Struct:
    struct = Struct()
    struct.update(values)  # type: ignore[arg-type]  # JSON's values, as the index holds them
    return struct
