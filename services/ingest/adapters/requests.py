"""What callers send, checked: everything that gets past here can be kept, published and indexed."""

import json
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from google.protobuf.json_format import SerializeToJsonError
from tandem.ingest.v1 import ingest_service_pb2 as pb
from tandem.ingest.v1.events_pb2 import Chunking

from services.common.errors import InvalidArgument
from services.common.index_config import MAX_CHUNK_TOKENS, MIN_CHUNK_TOKENS, STRATEGIES
from services.common.pages import InvalidPage, key_of, token_of
from services.common.permissions import SET_PREFIX
from services.ingest.adapters.messages import config_matches, datetime_of, metadata_of
from services.ingest.domain import FILES, PUSH, Draft
from services.ingest.errors import (
    DocumentTooLarge,
    InvalidChunking,
    InvalidDocument,
    InvalidSourceConfig,
    TooManyDocuments,
    UnknownSourceKind,
)

NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")
MAX_DOCUMENTS = 500
MAX_PUSH_BYTES = 32 * 1024 * 1024
MAX_REQUEST_ID_CHARS = 64
MAX_EXTERNAL_ID_CHARS = 1000
MAX_TITLE_CHARS = 1000
MAX_URI_BYTES = 8000
MAX_MEDIA_TYPE_CHARS = 200
# What the index keeps of it.
MAX_METADATA_BYTES = 32 * 1024
MAX_READERS = 100_000
MAX_READER_BYTES = 256
# A record carries as many as the index keeps; more are a set, and the record has its id.
MAX_READERS_BYTES = 32 * 1024 * 1024
ID_CHARS = 32


def check_source(request: pb.CreateSourceRequest) -> None:
    """Raise InvalidArgument unless a source can be made of it, its path and globs aside."""
    if request.kind not in {FILES, PUSH}:
        raise UnknownSourceKind("there is no such kind of source", kind=request.kind[:100], known=f"{FILES}, {PUSH}")
    if not NAME.fullmatch(request.name):
        raise InvalidSourceConfig("a name is 1 to 100 letters, digits, '.', '_' and '-'")
    if not config_matches(request):
        raise InvalidSourceConfig("the config is not that of the kind", kind=request.kind)
    check_chunking(request.chunking)
    check_readers(request.readers, InvalidSourceConfig)
    check_request_id(request.request_id, InvalidSourceConfig)


def check_chunking(chunking: Chunking) -> None:
    """Raise InvalidChunking unless documents can be cut so."""
    if chunking.strategy and chunking.strategy not in STRATEGIES:
        raise InvalidChunking("there is no such strategy", known=", ".join(sorted(STRATEGIES)))
    if chunking.chunk_tokens and not MIN_CHUNK_TOKENS <= chunking.chunk_tokens <= MAX_CHUNK_TOKENS:
        raise InvalidChunking("a chunk's size is out of range", least=MIN_CHUNK_TOKENS, most=MAX_CHUNK_TOKENS)
    if not 0 <= chunking.overlap_tokens < (chunking.chunk_tokens or MAX_CHUNK_TOKENS):
        raise InvalidChunking("chunks overlap by less than their size, and by no less than nothing")


def check_readers(readers: Sequence[str], fault: type[InvalidArgument]) -> None:
    """Raise `fault` unless the index can keep these principals."""
    if len(readers) > MAX_READERS:
        raise fault("too many readers", limit=MAX_READERS)
    if not all(0 < len(reader.encode()) <= MAX_READER_BYTES and "\0" not in reader for reader in readers):
        raise fault("a reader is empty or too long", limit_bytes=MAX_READER_BYTES)
    if any(reader.startswith(SET_PREFIX) for reader in readers):
        raise fault("a reader may not be called so", prefix=SET_PREFIX)
    if sum(len(reader.encode()) for reader in readers) > MAX_READERS_BYTES:
        raise fault("the readers are too large together", limit_bytes=MAX_READERS_BYTES)


def readers_of(readers: Iterable[str]) -> tuple[str, ...]:
    """Return principals as they are kept: in the order that they came in, each once."""
    return tuple(dict.fromkeys(readers))


def check_document_readers(request: pb.SetDocumentReadersRequest) -> dict[str, tuple[str, ...]]:
    """Return the readers that documents are to have, by external id; raise InvalidArgument unless they can be kept."""
    check_count(len(request.documents))
    for document in request.documents:
        check_readers(document.readers, InvalidDocument)
    found = {document.external_id: readers_of(document.readers) for document in request.documents}
    if len(found) < len(request.documents):
        raise InvalidDocument("an external_id is there twice")
    return found


def check_request_id(request_id: str, fault: type[InvalidArgument]) -> None:
    """Raise `fault` unless it is short text."""
    if len(request_id) > MAX_REQUEST_ID_CHARS or "\0" in request_id:
        raise fault("the request_id is too long", limit=MAX_REQUEST_ID_CHARS)


def check_push(request: pb.PushDocumentsRequest, limit_bytes: int) -> None:
    """Raise InvalidArgument unless the documents are few enough, small enough, and each there once."""
    check_request_id(request.request_id, InvalidDocument)
    check_count(len(request.documents))
    for document in request.documents:
        if len(document.content) > limit_bytes:
            raise DocumentTooLarge("a document is too large", external_id=document.external_id, limit_bytes=limit_bytes)
    if sum(len(document.content) for document in request.documents) > MAX_PUSH_BYTES:
        raise DocumentTooLarge("the documents are too large together", limit_bytes=MAX_PUSH_BYTES)
    ids = [document.external_id for document in request.documents]
    if len(set(ids)) < len(ids):
        raise InvalidDocument("an external_id is there twice")


def check_count(count: int) -> None:
    """Raise unless a request carries 1 to 500."""
    if count > MAX_DOCUMENTS:
        raise TooManyDocuments("too many documents in one request", limit=MAX_DOCUMENTS)
    if not count:
        raise InvalidDocument("the request has no document")


def draft_of(document: pb.PushedDocument, owner: str, now: datetime) -> Draft:
    """Return the draft of a document that `owner` pushed, its content not stored yet.

    Raises:
        InvalidDocument: it can never be kept as sent.
    """
    _check_texts(document)
    check_readers(document.readers, InvalidDocument)
    try:
        metadata = metadata_of(document.metadata)
        changed_at = datetime_of(document.changed_at) if document.HasField("changed_at") else now
    except (SerializeToJsonError, ValueError, OverflowError) as error:
        raise InvalidDocument("metadata or changed_at is not valid", external_id=document.external_id) from error
    text = json.dumps(metadata)
    if len(text) > MAX_METADATA_BYTES or "\\u0000" in text:
        raise InvalidDocument("metadata is too large", external_id=document.external_id, limit_bytes=MAX_METADATA_BYTES)
    return Draft(
        external_id=document.external_id,
        title=document.title or document.external_id,
        uri=document.uri,
        media_type=document.media_type,
        size_bytes=len(document.content),
        changed_at=changed_at.astimezone(UTC),
        readers=readers_of(document.readers),
        metadata=metadata,
        owner=owner,
        follows_source=not document.readers,
    )


def is_external_id(text: str) -> bool:
    """Whether an application may call a document so."""
    return 0 < len(text) <= MAX_EXTERNAL_ID_CHARS and "\0" not in text


def position_of(page_token: str) -> tuple[str, str]:
    """Return the name (or external id) and the id that a page begins after.

    Raises:
        InvalidPage: the token came from no answer.
    """
    key = key_of(page_token)
    if "\0" in key or (page_token and len(key) < ID_CHARS):
        raise InvalidPage("the page token is not one of ours")
    return key[ID_CHARS:], key[:ID_CHARS]


def token_after(name: str, object_id: str) -> str:
    """Return the token of the page that begins after them."""
    return token_of(object_id + name)


def _check_texts(document: pb.PushedDocument) -> None:
    if not is_external_id(document.external_id):
        raise InvalidDocument("an external_id has 1 to 1000 characters", limit=MAX_EXTERNAL_ID_CHARS)
    facts = {"external_id": document.external_id}
    if not document.content:
        raise InvalidDocument("the document is empty", **facts)
    texts = (document.title, document.uri, document.media_type)
    if len(document.title) > MAX_TITLE_CHARS or len(document.media_type) > MAX_MEDIA_TYPE_CHARS:
        raise InvalidDocument("the title or the media type is too long", **facts)
    if len(document.uri.encode()) > MAX_URI_BYTES:
        raise InvalidDocument("the URI is too long", limit_bytes=MAX_URI_BYTES, **facts)
    if any("\0" in text for text in texts):
        raise InvalidDocument("the title, URI or media type holds a NUL character", **facts)
