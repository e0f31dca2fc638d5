"""The tables of the schema `ingest`."""

from pathlib import Path

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from services.common.database import schema_metadata
from services.common.outbox import outbox_table

SCHEMA = "ingest"
MIGRATIONS = Path(__file__).parent.parent / "migrations"
METADATA = schema_metadata(SCHEMA)

OUTBOX = outbox_table(METADATA)

SOURCES = Table(
    "sources",
    METADATA,
    Column("source_id", String, primary_key=True),
    Column("tenant_id", String, nullable=False),
    Column("name", String(collation="C"), nullable=False),
    Column("kind", String, nullable=False),
    Column("state", String, nullable=False),
    Column("config", JSONB, nullable=False),
    Column("readers", ARRAY(String), nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("sync_wanted", Boolean, nullable=False),
    Column("last_sync_at", DateTime(timezone=True)),
    Column("last_sync_error", String, nullable=False),
    Column("root", String, nullable=False),
    Column("owner", String, nullable=False),
    Column("chunking", JSONB, nullable=False),
    # The name of a source that is being deleted is free again.
    Index("uq_sources_name", "tenant_id", "name", unique=True, postgresql_where=text("state <> 'deleting'")),
    Index("ix_sources_state", "state"),
)

DOCUMENTS = Table(
    "documents",
    METADATA,
    Column("document_id", String, primary_key=True),
    Column("tenant_id", String, nullable=False),
    Column("source_id", ForeignKey(SOURCES.c.source_id), nullable=False),
    Column("external_id", String(collation="C"), nullable=False),
    # Its SHA-256: a path may be longer than an index entry.
    Column("external_key", String, nullable=False),
    Column("title", String, nullable=False),
    Column("uri", String, nullable=False),
    Column("media_type", String, nullable=False),
    Column("blob_key", String, nullable=False),
    Column("content_digest", String, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("fingerprint", String, nullable=False),
    Column("readers", ARRAY(String), nullable=False),
    Column("metadata", JSONB, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("state", String, nullable=False),
    Column("failure_reason", String, nullable=False),
    Column("failure_message", String, nullable=False),
    Column("chunk_count", Integer, nullable=False),
    Column("changed_at", DateTime(timezone=True), nullable=False),
    Column("recorded_at", DateTime(timezone=True), nullable=False),
    Column("indexed_at", DateTime(timezone=True)),
    Column("awaiting", Boolean, nullable=False),
    Column("published_at", DateTime(timezone=True)),
    Column("publications", Integer, nullable=False),
    Column("owner", String, nullable=False),
    Column("follows_source", Boolean, nullable=False),
    # The id of its readers in READER_SETS, where they are more than the index keeps.
    Column("reader_set", String, nullable=False),
    Column("suspicious_chunk_count", Integer, nullable=False),
    Column("narrowed_at", DateTime(timezone=True)),
    Column("former_blobs", ARRAY(String), nullable=False),
    UniqueConstraint("source_id", "external_key"),
    Index("ix_documents_tenant", "tenant_id", "source_id", "state"),
    Index("ix_documents_blob_key", "blob_key"),
    Index("ix_documents_former_blobs", "former_blobs", postgresql_using="gin"),
    Index("ix_documents_reader_set", "tenant_id", "reader_set", postgresql_where=text("reader_set <> ''")),
    Index("ix_documents_awaiting", "published_at", postgresql_where=text("awaiting")),
)

REQUESTS = Table(
    "requests",
    METADATA,
    Column("tenant_id", String, primary_key=True),
    Column("rpc", String, primary_key=True),
    Column("request_id", String, primary_key=True),
    Column("source_id", ForeignKey(SOURCES.c.source_id, ondelete="CASCADE"), nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
    Index("ix_requests_at", "at"),
)

READER_SETS = Table(
    "reader_sets",
    METADATA,
    Column("tenant_id", String, primary_key=True),
    Column("set_id", String, primary_key=True),
    Column("member", String, primary_key=True),
    Index("ix_reader_sets_member", "tenant_id", "member"),
)

BLOBS = Table(
    "blobs",
    METADATA,
    Column("blob_key", String, primary_key=True),
    Column("tenant_id", String, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("doubted", Boolean, nullable=False),
    # A content that was doubted and is put again is another one: what was put before may be gone.
    Column("generation", BigInteger, Identity(), nullable=False),
    Column("put_at", DateTime(timezone=True), nullable=False),
    Index("ix_blobs_doubted", "blob_key", postgresql_where=text("doubted")),
    Index("ix_blobs_tenant_id", "tenant_id"),
    Index("ix_blobs_put_at", "put_at"),
)

SECRETS = Table(
    "secrets",
    METADATA,
    Column("tenant_id", String, primary_key=True),
    Column("name", String(collation="C"), primary_key=True),
    Column("key_id", String, nullable=False),
    Column("wrapped_key", LargeBinary, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False),
    Index("ix_secrets_key_id", "key_id"),
)

PLACEMENTS = Table(
    "placements",
    METADATA,
    Column("tenant_id", String, primary_key=True),
    Column("place", String, nullable=False),
    Column("state", String, nullable=False),
    Column("other_place", String, nullable=False),
    Column("moved_at", DateTime(timezone=True), nullable=False),
    Column("listed", Boolean, nullable=False),
)

# What a move still has to copy.
COPIES = Table(
    "copies",
    METADATA,
    Column("tenant_id", String, primary_key=True),
    Column("document_id", String, primary_key=True),
    Column("sent", Boolean, nullable=False),
    Column("done", Boolean, nullable=False),
)

# How the indexes of tenants are made that ever chose; `live` and `other` are JSON, see services/common/indexes.py.
TENANT_INDEXES = Table(
    "tenant_indexes",
    METADATA,
    Column("tenant_id", String, primary_key=True),
    Column("live", String, nullable=False),
    Column("live_key", String, nullable=False),
    Column("state", String, nullable=False),
    Column("other", String, nullable=False),
    Column("other_key", String, nullable=False),
    Column("changed_at", DateTime(timezone=True), nullable=False),
    Column("listed", Boolean, nullable=False),
    # How many there were: part of the next one's key.
    Column("builds", Integer, nullable=False),
)

# What the index beside the live one has of each document, or is still to be given.
BUILDS = Table(
    "builds",
    METADATA,
    Column("document_id", ForeignKey(DOCUMENTS.c.document_id, ondelete="CASCADE"), primary_key=True),
    Column("tenant_id", String, nullable=False),
    Column("sent_at", DateTime(timezone=True)),
    Column("done", Boolean, nullable=False),
    # Why it cannot hold the document; empty where it can.
    Column("reason", String, nullable=False),
    Column("chunk_count", Integer, nullable=False),
    Column("suspicious_chunk_count", Integer, nullable=False),
    Index("ix_builds_tenant_id", "tenant_id", "done"),
)
