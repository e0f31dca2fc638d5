"""Requests of the contract as the domain has them, and answers the other way."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from google.protobuf.struct_pb2 import Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp
from tandem.retrieve.v1 import retrieve_service_pb2 as pb
from tandem.retrieve.v1 import tuning_service_pb2 as tuning_pb

from services.retrieve.domain.hits import Hit
from services.retrieve.domain.query import Filter, InvalidFilter, Scalar
from services.retrieve.domain.tuning import DEFAULT_DEPTH, DEFAULT_STEPS, KeptTuning, Tuning
from services.retrieve.searching import Answer, Shown

# The years 1 to 9999, as protobuf's Timestamp has them.
_MIN_SECONDS, _MAX_SECONDS = -62_135_596_800, 253_402_300_799
_NANOS = 1_000_000_000


def filter_of(message: pb.RetrieveFilter) -> Filter:
    """Return what a request lets through.

    Raises:
        InvalidFilter: it can match nothing as it was sent.
    """
    return Filter(
        sources=tuple(message.sources),
        kinds=tuple(message.kinds),
        authors=tuple(message.authors),
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


def answer_message(answer: Answer) -> pb.RetrieveResponse:
    """Return an answer for the wire."""
    return pb.RetrieveResponse(
        passages=[passage_message(shown) for shown in answer.shown],
        index_version=answer.index_version,
        model=answer.model,
        searches=answer.searches,
        dense_share=answer.dense_share,
        tuning_version=answer.tuning_version,
        reranked=answer.reranked,
    )


def passage_message(shown: Shown) -> pb.Passage:
    """Return a passage for the wire."""
    passage, first, best = shown.passage, shown.passage.first, shown.passage.best
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
        restricted=not shown.public[first.document_id],
        suspicions=passage.suspicions,
        language=first.language,
        kind=first.kind,
        author=first.author,
        sources=[_place(place, shown.public) for place in shown.places],
        dense_similarity=best.similarity or 0.0,
        words_share=best.words_share,
        rerank_score=best.rerank_score,
    )


def _place(hit: Hit, public: Mapping[str, bool]) -> pb.Place:
    return pb.Place(
        chunk_id=hit.chunk_id,
        document_id=hit.document_id,
        document_version=hit.version,
        source_id=hit.source_id,
        source_name=hit.source_name,
        title=hit.title,
        uri=hit.uri,
        restricted=not public[hit.document_id],
    )


def _struct(values: Mapping[str, object]) -> Struct:
    struct = Struct()
    struct.update(values)  # type: ignore[arg-type]  # JSON's values, as the index holds them
    return struct


def tuning_of(message: tuning_pb.Tuning) -> Tuning:
    """Return a tuning as it was sent; what the server gives is not read.

    Raises:
        InvalidTuning: a value is beyond its limits.
    """
    return Tuning(
        source_weights={one.source: one.weight for one in message.source_weights},
        recency_half_life_days=message.recency_half_life_days,
        dense_share=message.dense_share if message.HasField("dense_share") else None,
        max_steps=message.max_steps or DEFAULT_STEPS,
        reranker=message.reranker,
        rerank_depth=message.rerank_depth or DEFAULT_DEPTH,
        rerank_off=message.rerank_off,
    )


def tuning_message(kept: KeptTuning) -> tuning_pb.Tuning:
    """Return a version of a tuning for the wire."""
    tuning = kept.tuning
    return tuning_pb.Tuning(
        version=kept.version,
        source_weights=[
            tuning_pb.SourceWeight(source=source, weight=weight) for source, weight in tuning.source_weights.items()
        ],
        recency_half_life_days=tuning.recency_half_life_days,
        dense_share=tuning.dense_share,
        max_steps=tuning.max_steps,
        reranker=tuning.reranker,
        rerank_depth=tuning.rerank_depth,
        rerank_off=tuning.rerank_off,
        put_at=_timestamp(kept.put_at),
    )


def _timestamp(time: datetime | None) -> Timestamp | None:
    if time is None:
        return None
    timestamp = Timestamp()
    timestamp.FromDatetime(time.astimezone(UTC))
    return timestamp


def judgements_of(message: tuning_pb.LearnDenseShareRequest) -> Sequence[tuple[str, frozenset[str]]]:
    """Return each judged query with the documents that are right for it."""
    return [(one.query, frozenset(one.document_ids)) for one in message.judgements]
