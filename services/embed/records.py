"""The records of documents' topics as values of the domain, and back."""

from datetime import datetime

from google.protobuf import json_format
from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp
from tandem.embed.v1 import events_pb2
from tandem.ingest.v1 import events_pb2 as ingest_pb2

from services.common.bus import DOCUMENTS_DEAD, DOCUMENTS_INDEXED, Record, key_of, traced
from services.embed.domain import (
    Beside,
    Change,
    Chunking,
    Deleted,
    Failed,
    Indexed,
    InvalidRecord,
    Outcome,
    digest_of,
)
from services.embed.scheduling import Arrival


def change_of(record: Record) -> Change:
    """Return the change that a record tells of.

    Raises:
        InvalidRecord: it cannot be read, or does not say which document it is about.
    """
    try:
        message = ingest_pb2.DocumentChanged.FromString(record.value)
        metadata = json_format.MessageToDict(message.metadata)
        changed_at = message.changed_at.ToMilliseconds()
    except (DecodeError, json_format.Error, ValueError, RecursionError) as error:
        raise InvalidRecord("the record cannot be read") from error
    if not (message.tenant_id and message.document_id and message.version > 0):
        raise InvalidRecord("the record names no tenant, document or version")
    chunking = _chunking_of(message.chunking) if message.HasField("chunking") else Chunking()
    return Change(
        tenant_id=message.tenant_id,
        document_id=message.document_id,
        version=message.version,
        deleted=message.deleted,
        source_id=message.source_id,
        source_name=message.source_name,
        blob_key=message.blob_key,
        content_digest=digest_of(message.content_digest, metadata, chunking),
        size_bytes=message.size_bytes,
        media_type=message.media_type,
        external_id=message.external_id,
        title=message.title,
        uri=message.uri,
        readers=tuple(message.readers),
        metadata=metadata,
        changed_at=changed_at,
        chunking=chunking,
    )


def _chunking_of(message: ingest_pb2.Chunking) -> Chunking:
    overlap = message.overlap_tokens if message.HasField("overlap_tokens") else None
    return Chunking(message.strategy, message.chunk_tokens, overlap)


def arrival_of(record: Record) -> Arrival:
    """Return where a record waits; one that cannot be read waits by itself, and for nobody."""
    try:
        change = change_of(record)
    except InvalidRecord:
        return Arrival("", f"{record.topic}/{record.partition}/{record.offset}", 0, 0, record)
    return Arrival(change.tenant_id, change.document_id, change.version, change.size_bytes, record)


def indexed_record(change: Change, outcome: Outcome, beside: Beside | None, now: datetime) -> Record:
    """Return the record that tells what became of a change; it carries the current trace."""
    message = events_pb2.DocumentIndexed(
        tenant_id=change.tenant_id, document_id=change.document_id, version=outcome.version, finished_at=_timestamp(now)
    )
    if isinstance(outcome, Deleted):
        message.deleted.SetInParent()
    else:
        _tell(message, outcome)
    if beside:
        message.other.key = beside.key
        _tell(message.other, beside.outcome)
    return traced(DOCUMENTS_INDEXED, key_of(*change.key), message.SerializeToString())


def _tell(message: events_pb2.DocumentIndexed | events_pb2.OtherIndex, outcome: Indexed | Failed) -> None:
    match outcome:
        case Indexed():
            message.indexed.chunk_count = outcome.chunk_count
            message.indexed.embedded_count = outcome.embedded_count
            message.indexed.suspicious_count = outcome.suspicious_count
        case Failed():
            message.failed.reason = outcome.reason
            message.failed.message = outcome.message


def dead_letter(record: Record, reason: str, detail: str, now: datetime) -> Record:
    """Return the record that keeps what could not be processed, with why."""
    message = events_pb2.DeadLetter(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        key=record.key,
        value=record.value,
        reason=reason,
        message=detail,
        failed_at=_timestamp(now),
    )
    return traced(DOCUMENTS_DEAD, record.key, message.SerializeToString())


def _timestamp(moment: datetime) -> Timestamp:
    timestamp = Timestamp()
    timestamp.FromDatetime(moment)
    return timestamp
