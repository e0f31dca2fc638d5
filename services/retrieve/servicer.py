"""The gRPC face of retrieval."""

from collections.abc import Mapping
from typing import Any

from google.protobuf.struct_pb2 import Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp
from tandem.retrieve.v1 import retrieve_service_pb2 as pb
from tandem.retrieve.v1 import retrieve_service_pb2_grpc

from services.common.client import Outgoing
from services.common.identity import caller
from services.retrieve.domain import Filter, Found, InvalidFilter, Passage, Scalar, Search, passages_of, query_of
from services.retrieve.metrics import EMBED, SEARCH, answered, stage
from services.retrieve.ports import PassageIndex, QueryEmbedder

EMBED_SECONDS = 5.0

# The years 1 to 9999, as protobuf's Timestamp has them.
_MIN_SECONDS, _MAX_SECONDS = -62_135_596_800, 253_402_300_799
_NANOS = 1_000_000_000


class RetrieveServicer(retrieve_service_pb2_grpc.RetrieveServiceServicer):
    """Embeds a query, searches the caller's index with it, and merges what is found."""

    def __init__(self, embedder: QueryEmbedder, index: PassageIndex, outgoing: Outgoing) -> None:
        self._embedder = embedder
        self._index = index
        self._outgoing = outgoing

    async def Retrieve(self, request: pb.RetrieveRequest, context: Any) -> pb.RetrieveResponse:
        identity = caller()
        query = query_of(request.query, request.top_k, _filter_of(request.filter))
        with stage(EMBED):
            embedded = await self._embedder.embed(query.text, self._outgoing(identity, context, EMBED_SECONDS))
        with stage(SEARCH):
            found = await self._index.search(Search(identity.tenant_id, identity.principals, query, embedded))
        passages = passages_of(found.hits, query.top_k)
        answered(len(passages))
        return _response(found, passages, embedded.model)


def _filter_of(message: pb.RetrieveFilter) -> Filter:
    return Filter(
        sources=tuple(message.sources),
        changed_after_ms=_milliseconds(message.changed_after) if message.HasField("changed_after") else None,
        changed_before_ms=_milliseconds(message.changed_before) if message.HasField("changed_before") else None,
        metadata={name: _scalar(name, value) for name, value in message.metadata.fields.items()},
    )


def _milliseconds(timestamp: Timestamp) -> int:
    if not (_MIN_SECONDS <= timestamp.seconds <= _MAX_SECONDS and 0 <= timestamp.nanos < _NANOS):
        raise InvalidFilter("a time is outside of the years 1 to 9999")
    # Rounded up: the index holds whole milliseconds, and both bounds compare the same way then.
    return timestamp.seconds * 1000 - (-timestamp.nanos // 1_000_000)


def _scalar(name: str, value: Value) -> Scalar:
    match value.WhichOneof("kind"):
        case "string_value":
            return value.string_value
        case "number_value":
            return value.number_value
        case "bool_value":
            return value.bool_value
    raise InvalidFilter("metadata compares with strings, numbers and booleans only", field=name)


def _response(found: Found, passages: list[Passage], model: str) -> pb.RetrieveResponse:
    return pb.RetrieveResponse(passages=map(_message, passages), index_version=found.index_version, model=model)


def _message(passage: Passage) -> pb.Passage:
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
    )


def _struct(values: Mapping[str, object]) -> Struct:
    struct = Struct()
    struct.update(values)  # type: ignore[arg-type]  # JSON's values, as the index holds them
    return struct
