"""Between protobuf and the domain: records read and written, and what the RPCs take and answer."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp
from tandem.embed.v1 import events_pb2 as embed_pb
from tandem.ingest.v1 import events_pb2
from tandem.ingest.v1 import ingest_service_pb2 as pb

from services.common.bus import DOCUMENTS_CHANGED, Record, key_of, traced
from services.ingest.adapters.readers import as_indexed
from services.ingest.domain import (
    FILES,
    MAX_INLINE_READERS,
    Answer,
    Beside,
    Chunking,
    Counts,
    Document,
    DocumentState,
    Failure,
    FilesConfig,
    Indexed,
    Removed,
    Report,
    Source,
    SourceState,
)

_SOURCE_STATES = {
    SourceState.ACTIVE: pb.SOURCE_STATE_ACTIVE,
    SourceState.PAUSED: pb.SOURCE_STATE_PAUSED,
    SourceState.DELETING: pb.SOURCE_STATE_DELETING,
}
_DOCUMENT_STATES = {
    DocumentState.PENDING: pb.DOCUMENT_STATE_PENDING,
    DocumentState.INDEXED: pb.DOCUMENT_STATE_INDEXED,
    DocumentState.FAILED: pb.DOCUMENT_STATE_FAILED,
    DocumentState.DELETING: pb.DOCUMENT_STATE_DELETING,
}
_STATES_BY_NUMBER = {int(number): state for state, number in _DOCUMENT_STATES.items()}


class MalformedReport(ValueError):
    """A record on `documents.indexed` that says nothing."""


def changed_record(document: Document, source: Source) -> Record:
    """Return the record that carries the document's whole state, and what its source says of it."""
    message = events_pb2.DocumentChanged(
        tenant_id=document.tenant_id,
        document_id=document.document_id,
        source_id=document.source_id,
        version=document.version,
        deleted=document.withdrawn,
    )
    if not document.withdrawn:
        message.MergeFrom(_content(document, source))
    key = key_of(document.tenant_id, document.document_id)
    return traced(DOCUMENTS_CHANGED, key, message.SerializeToString())


def _content(document: Document, source: Source) -> events_pb2.DocumentChanged:
    draft = document.draft
    return events_pb2.DocumentChanged(
        blob_key=draft.blob_key,
        content_digest=draft.content_digest,
        size_bytes=draft.size_bytes,
        media_type=draft.media_type,
        external_id=draft.external_id,
        title=draft.title,
        uri=draft.uri,
        readers=as_indexed(draft.readers),
        metadata=_struct(dict(draft.metadata)),
        changed_at=_timestamp(draft.changed_at),
        source_name=source.name,
        chunking=_chunking(source.chunking),
    )


def report_of(value: bytes) -> Report:
    """Return what a record on `documents.indexed` reports.

    Raises:
        MalformedReport: it cannot be decoded, or holds no result or no time.
    """
    try:
        message = embed_pb.DocumentIndexed.FromString(value)
        at = message.finished_at.ToDatetime(UTC)
    except (DecodeError, ValueError, OverflowError) as error:
        raise MalformedReport(f"it cannot be decoded: {type(error).__name__}") from error
    if not message.HasField("finished_at"):
        raise MalformedReport("it has no time")
    answer, beside = _answer_of(message), _beside_of(message.other)
    return Report(_stored(message.tenant_id), _stored(message.document_id), message.version, answer, at, beside)


def _answer_of(message: embed_pb.DocumentIndexed) -> Answer:
    match message.WhichOneof("result"):
        case "indexed":
            return _indexed(message.indexed)
        case "deleted":
            return Removed()
        case "failed":
            return _failure(message.failed)
    raise MalformedReport("it holds no result")


def _beside_of(message: embed_pb.OtherIndex) -> Beside | None:
    match message.WhichOneof("result"):
        case "indexed":
            return Beside(_stored(message.key), _indexed(message.indexed))
        case "failed":
            return Beside(_stored(message.key), _failure(message.failed))
    return None


def _indexed(message: embed_pb.Indexed) -> Indexed:
    return Indexed(message.chunk_count, message.suspicious_count)


def _failure(message: embed_pb.Failed) -> Failure:
    return Failure(_stored(message.reason) or "UNKNOWN", _stored(message.message))


def source_message(source: Source, counts: Counts) -> pb.Source:
    """Return a source as the RPCs show it."""
    message = pb.Source(
        source_id=source.source_id,
        name=source.name,
        kind=source.kind,
        state=_SOURCE_STATES[source.state],
        readers=source.readers[:MAX_INLINE_READERS],
        reader_count=len(source.readers),
        owner=source.owner,
        chunking=_chunking(source.chunking),
        created_at=_timestamp(source.created_at),
        last_sync_at=_timestamp(source.last_sync_at),
        last_sync_error=source.last_sync_error,
        counts=pb.SourceCounts(
            pending=counts.pending,
            indexed=counts.indexed,
            failed=counts.failed,
            deleting=counts.deleting,
            chunks=counts.chunks,
            suspicious_chunks=counts.suspicious_chunks,
        ),
    )
    if source.config:
        config = source.config
        files = pb.FilesConfig(path=config.path, include=config.include, exclude=config.exclude, watch=config.watch)
        message.files.CopyFrom(files)
    else:
        message.push.SetInParent()
    return message


def document_message(document: Document, reader_count: int | None = None) -> pb.Document:
    """Return a row of the manifest as the RPCs show it; `reader_count` where it has its first readers alone."""
    draft = document.draft
    failure = draft.failure or Failure("", "")
    return pb.Document(
        document_id=document.document_id,
        source_id=document.source_id,
        external_id=draft.external_id,
        title=draft.title,
        uri=draft.uri,
        media_type=draft.media_type,
        size_bytes=draft.size_bytes,
        version=document.version,
        state=_DOCUMENT_STATES[document.state],
        failure_reason=failure.reason,
        failure_message=failure.message,
        chunk_count=document.chunk_count,
        readers=draft.readers[:MAX_INLINE_READERS],
        reader_count=len(draft.readers) if reader_count is None else reader_count,
        changed_at=_timestamp(draft.changed_at),
        indexed_at=_timestamp(document.indexed_at),
        owner=draft.owner,
        suspicious_chunk_count=document.suspicious_chunk_count,
        follows_source=draft.follows_source,
    )


def files_config_of(message: pb.FilesConfig) -> FilesConfig:
    """Return the configuration in a request."""
    return FilesConfig(message.path, tuple(message.include), tuple(message.exclude), message.watch)


def chunking_of(message: events_pb2.Chunking) -> Chunking:
    """Return how a request wants documents cut."""
    overlap = message.overlap_tokens if message.HasField("overlap_tokens") else None
    return Chunking(message.strategy, message.chunk_tokens, overlap)


def config_matches(request: pb.CreateSourceRequest) -> bool:
    """Whether a request's config is that of its kind."""
    return (request.WhichOneof("config") == "files") == (request.kind == FILES) and (
        request.WhichOneof("config") is not None
    )


def state_of(number: int) -> DocumentState | None:
    """Return the state of a protobuf number; None where it is unspecified, or none that we know."""
    return _STATES_BY_NUMBER.get(number)


def metadata_of(struct: Struct) -> dict[str, Any]:
    """Return a struct as JSON has it."""
    found: dict[str, Any] = MessageToDict(struct)
    return found


def datetime_of(stamp: Timestamp) -> datetime:
    """Return a timestamp in UTC; raises ValueError where there is no such time."""
    return stamp.ToDatetime(UTC)


def _chunking(chunking: Chunking) -> events_pb2.Chunking | None:
    return events_pb2.Chunking(**asdict(chunking)) if chunking != Chunking() else None


def _struct(values: dict[str, Any]) -> Struct:
    struct = Struct()
    struct.update(values)
    return struct


def _timestamp(at: datetime | None) -> Timestamp | None:
    if at is None:
        return None
    stamp = Timestamp()
    stamp.FromDatetime(at)
    return stamp


def _stored(text: str) -> str:
    """Return text as PostgreSQL can keep it."""
    return text.replace("\0", "")
