"""The passage index as `embed` writes and `retrieve` reads it: one Milvus collection a tenant.

This is a contract between the two, as a proto is; changing it means a new collection beside
the old one.
"""

import hashlib
import json
import re

from pymilvus import AsyncMilvusClient, CollectionSchema, DataType, Function, FunctionType, MilvusClient

SCHEMA_VERSION = 2

ID = "id"
DOCUMENT_ID = "document_id"
VERSION = "version"
SOURCE_ID = "source_id"
SOURCE_NAME = "source_name"
READERS = "readers"
TEXT = "text"
DENSE = "dense"
SPARSE = "sparse"
TITLE = "title"
URI = "uri"
HEADINGS = "headings"
ORDINAL = "ordinal"
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
ANALYZER = {"tokenizer": "standard", "filter": ["lowercase", "asciifolding"]}

Row = dict[str, object]


def collection_of(tenant_id: str, model: str) -> str:
    """Return the name of a tenant's collection for an embedding model.

    Milvus allows letters, digits and underscores, so the tenant's id is made safe and
    followed by a digest that keeps different ids apart.
    """
    safe = re.sub(r"\W", "_", tenant_id, flags=re.ASCII)[:60]
    digest = hashlib.sha256(f"{tenant_id}\0{model}\0{SCHEMA_VERSION}".encode()).hexdigest()[:16]
    return f"t_{safe}_{digest}"


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
    schema.add_field(TEXT, DataType.VARCHAR, max_length=MAX_TEXT_BYTES, enable_analyzer=True, analyzer_params=ANALYZER)
    schema.add_field(DENSE, DataType.FLOAT_VECTOR, dim=dimensions)
    schema.add_field(SPARSE, DataType.SPARSE_FLOAT_VECTOR)
    schema.add_field(TITLE, DataType.VARCHAR, max_length=4000)
    schema.add_field(URI, DataType.VARCHAR, max_length=8000)
    schema.add_field(HEADINGS, DataType.JSON)
    schema.add_field(ORDINAL, DataType.INT64)
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
    schema.add_function(Function("bm25", FunctionType.BM25, input_field_names=[TEXT], output_field_names=[SPARSE]))
    return schema


def open_milvus(uri: str, token: str = "", database: str = "") -> AsyncMilvusClient:  # no token is no password  # nosec B107
    """Return a client of the Milvus at `uri`, such as http://127.0.0.1:19530, and of one database in it."""
    # pymilvus pings an idle server every 10 seconds; gRPC servers hang up on that, and a call is lost with it.
    options = {"grpc.keepalive_permit_without_calls": False}
    return AsyncMilvusClient(uri=uri, token=token, db_name=database, grpc_options=options)
