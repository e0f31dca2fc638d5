"""The passage index as `embed` writes and `retrieve` reads it: one Milvus collection a tenant and configuration.

This is a contract between the two, as a proto is; changing it means a new collection beside
the old one.
"""

import hashlib
import json
import re

from pymilvus import AsyncMilvusClient, CollectionSchema, DataType, Function, FunctionType, MilvusClient

SCHEMA_VERSION = 3

ID = "id"
DOCUMENT_ID = "document_id"
VERSION = "version"
SOURCE_ID = "source_id"
SOURCE_NAME = "source_name"
READERS = "readers"
TEXT = "text"
WORDS = "words"
LANGUAGE = "language"
KIND = "kind"
AUTHOR = "author"
DENSE = "dense"
SPARSE = "sparse"
TITLE = "title"
URI = "uri"
HEADINGS = "headings"
ORDINAL = "ordinal"
SECTION_FIRST = "section_first"
SECTION_LAST = "section_last"
START = "start_offset"
END = "end_offset"
PAGE = "page"
CONTENT_DIGEST = "content_digest"
METADATA = "metadata"
CHANGED_AT = "changed_at"
SUSPICIONS = "suspicions"

MAX_TEXT_BYTES = 65_535
MAX_READERS = 4096
MAX_READER_BYTES = 256
MAX_SUSPICIONS = 8
MAX_SUSPICION_BYTES = 64
MAX_AUTHOR_BYTES = 400
_DIGITS = 16
# Of a chunk's id, in hexadecimal digits.
_KEY_DIGITS, _VERSION_DIGITS = 48, 16
# The words come stemmed and folded: see services/common/analysis.py.
ANALYZER = {"tokenizer": "whitespace"}

# Chunks are of about one length, and say a word once or twice: measured on five sets, see ADR 30.
BM25 = {"bm25_k1": 0.9, "bm25_b": 0.4}

Row = dict[str, object]


def collection_of(tenant_id: str, config: str) -> str:
    """Return the name of a tenant's collection for a configuration of its index.

    That is the index's key, see services/common/indexes.py, or for the deployment's default the
    embedding model's name.
    """
    digest = hashlib.sha256(f"{config}\0{SCHEMA_VERSION}".encode()).hexdigest()[:_DIGITS]
    return f"{_prefix_of(tenant_id)}{digest}"


def is_collection_of(tenant_id: str, name: str) -> bool:
    """Return whether a collection of that name is the tenant's, whatever its configuration."""
    prefix = _prefix_of(tenant_id)
    # Another tenant's id may begin with all of the prefix, but then its collections have longer names.
    return name.startswith(prefix) and len(name) == len(prefix) + _DIGITS


def _prefix_of(tenant_id: str) -> str:
    """Return how the names of a tenant's collections begin.

    Milvus allows letters, digits and underscores, so the tenant's id is made safe and
    followed by a digest that keeps different ids apart.
    """
    safe = re.sub(r"\W", "_", tenant_id, flags=re.ASCII)[:60]
    return f"t_{safe}_{hashlib.sha256(tenant_id.encode()).hexdigest()[:_DIGITS]}_"


def former_collections_of(tenant_id: str, model: str) -> list[str]:
    """Return the names that a tenant's collection had under older schemas, which had one a model."""
    safe = re.sub(r"\W", "_", tenant_id, flags=re.ASCII)[:60]
    digests = (hashlib.sha256(f"{tenant_id}\0{model}\0{version}".encode()).hexdigest() for version in (1, 2))
    return [f"t_{safe}_{digest[:_DIGITS]}" for digest in digests]


def chunk_id_of(key: str, version: int) -> str:
    """Return the id of a chunk in a version of its document; `key` tells the chunk from the document's others.

    A row is never written over: an index without transactions shows neither the old row nor the new
    one for a moment. Each version has rows of its own, and the older ones go once these are there.
    """
    return f"{key[:_KEY_DIGITS]}{version:0{_VERSION_DIGITS}x}"


def chunk_key_of(chunk_id: str) -> str:
    """Return what the ids of one chunk have in common in all versions of its document."""
    return chunk_id[:_KEY_DIGITS]


def literal(value: str | float | list[str]) -> str:
    r"""Return `value` as a literal of a Milvus filter, safe for any string.

    Milvus reads JSON's literals but not its \u escapes, so those are left out.
    """
    return json.dumps(value, ensure_ascii=False)


def schema_of(dimensions: int) -> CollectionSchema:
    """Return the collection's schema: a row a chunk."""
    schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field(ID, DataType.VARCHAR, max_length=64, is_primary=True)
    schema.add_field(DOCUMENT_ID, DataType.VARCHAR, max_length=64)
    schema.add_field(VERSION, DataType.INT64)
    schema.add_field(SOURCE_ID, DataType.VARCHAR, max_length=64)
    schema.add_field(SOURCE_NAME, DataType.VARCHAR, max_length=400)
    schema.add_field(
        READERS, DataType.ARRAY, element_type=DataType.VARCHAR, max_capacity=MAX_READERS, max_length=MAX_READER_BYTES
    )
    schema.add_field(TEXT, DataType.VARCHAR, max_length=MAX_TEXT_BYTES)
    schema.add_field(
        WORDS,
        DataType.VARCHAR,
        max_length=MAX_TEXT_BYTES,
        enable_analyzer=True,
        analyzer_params=ANALYZER,
        description="The stems of title, headings and text, with spaces between them.",
    )
    schema.add_field(DENSE, DataType.FLOAT_VECTOR, dim=dimensions)
    schema.add_field(SPARSE, DataType.SPARSE_FLOAT_VECTOR)
    _add_facts(schema)
    schema.add_function(Function("bm25", FunctionType.BM25, input_field_names=[WORDS], output_field_names=[SPARSE]))
    return schema


def _add_facts(schema: CollectionSchema) -> None:
    """Add what a hit tells of its chunk, and what a search is narrowed by."""
    schema.add_field(LANGUAGE, DataType.VARCHAR, max_length=16, description="ISO 639-1; empty where it is not known.")
    schema.add_field(KIND, DataType.VARCHAR, max_length=32, description="The document's kind, such as text or ticket.")
    schema.add_field(AUTHOR, DataType.VARCHAR, max_length=MAX_AUTHOR_BYTES)
    schema.add_field(TITLE, DataType.VARCHAR, max_length=4000)
    schema.add_field(URI, DataType.VARCHAR, max_length=8000)
    schema.add_field(HEADINGS, DataType.JSON)
    schema.add_field(ORDINAL, DataType.INT64)
    schema.add_field(SECTION_FIRST, DataType.INT64, description="Ordinal of the first chunk of the same section.")
    schema.add_field(SECTION_LAST, DataType.INT64, description="Ordinal of its last chunk.")
    schema.add_field(START, DataType.INT64)
    schema.add_field(END, DataType.INT64)
    schema.add_field(PAGE, DataType.INT64)
    schema.add_field(CONTENT_DIGEST, DataType.VARCHAR, max_length=64)
    schema.add_field(METADATA, DataType.JSON)
    schema.add_field(CHANGED_AT, DataType.INT64, description="Unix time in milliseconds.")
    schema.add_field(
        SUSPICIONS,
        DataType.ARRAY,
        element_type=DataType.VARCHAR,
        max_capacity=MAX_SUSPICIONS,
        max_length=MAX_SUSPICION_BYTES,
        description="Why the text looks as if it would give a model orders.",
    )


def open_milvus(uri: str, token: str = "", database: str = "") -> AsyncMilvusClient:  # no token is no password  # nosec B107
    """Return a client of the Milvus at `uri`, such as http://127.0.0.1:19530, and of one database in it."""
    # pymilvus pings an idle server every 10 seconds; gRPC servers hang up on that, and a call is lost with it.
    options = {"grpc.keepalive_permit_without_calls": False}
    return AsyncMilvusClient(uri=uri, token=token, db_name=database, grpc_options=options)
