"""Sources, the manifest of their documents, the outbox, and the requests already served."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

revision = "0001"
down_revision = None

SCHEMA = "ingest"


def upgrade() -> None:
    create_sources()
    create_documents()
    create_outbox()
    create_requests()


def create_sources() -> None:
    op.create_table(
        "sources",
        sa.Column("source_id", sa.String, nullable=False),
        sa.Column("tenant_id", sa.String, nullable=False),
        sa.Column("name", sa.String(collation="C"), nullable=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("config", JSONB, nullable=False),
        sa.Column("readers", ARRAY(sa.String), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sync_wanted", sa.Boolean, nullable=False),
        sa.Column("last_sync_at", sa.DateTime(timezone=True)),
        sa.Column("last_sync_error", sa.String, nullable=False),
        sa.Column("root", sa.String, nullable=False),
        sa.PrimaryKeyConstraint("source_id", name="pk_sources"),
        schema=SCHEMA,
    )
    op.create_index(
        "uq_sources_name",
        "sources",
        ["tenant_id", "name"],
        unique=True,
        postgresql_where=sa.text("state <> 'deleting'"),
        schema=SCHEMA,
    )
    op.create_index("ix_sources_state", "sources", ["state"], schema=SCHEMA)


def create_documents() -> None:
    op.create_table(
        "documents",
        sa.Column("document_id", sa.String, nullable=False),
        sa.Column("tenant_id", sa.String, nullable=False),
        sa.Column("source_id", sa.String, nullable=False),
        sa.Column("external_id", sa.String(collation="C"), nullable=False),
        sa.Column("external_key", sa.String, nullable=False),
        sa.Column("title", sa.String, nullable=False),
        sa.Column("uri", sa.String, nullable=False),
        sa.Column("media_type", sa.String, nullable=False),
        sa.Column("blob_key", sa.String, nullable=False),
        sa.Column("content_digest", sa.String, nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("fingerprint", sa.String, nullable=False),
        sa.Column("readers", ARRAY(sa.String), nullable=False),
        sa.Column("metadata", JSONB, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("failure_reason", sa.String, nullable=False),
        sa.Column("failure_message", sa.String, nullable=False),
        sa.Column("chunk_count", sa.Integer, nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("indexed_at", sa.DateTime(timezone=True)),
        sa.Column("awaiting", sa.Boolean, nullable=False),
        sa.Column("published_at", sa.DateTime(timezone=True)),
        sa.Column("publications", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("document_id", name="pk_documents"),
        sa.ForeignKeyConstraint(["source_id"], [f"{SCHEMA}.sources.source_id"], name="fk_documents_source_id"),
        sa.UniqueConstraint("source_id", "external_key", name="uq_documents_source_id"),
        schema=SCHEMA,
    )
    op.create_index("ix_documents_tenant", "documents", ["tenant_id", "source_id", "state"], schema=SCHEMA)
    op.create_index(
        "ix_documents_awaiting", "documents", ["published_at"], postgresql_where=sa.text("awaiting"), schema=SCHEMA
    )


def create_outbox() -> None:
    op.create_table(
        "outbox",
        sa.Column("id", sa.BigInteger, sa.Identity(), nullable=False),
        sa.Column("topic", sa.String, nullable=False),
        sa.Column("key", sa.LargeBinary, nullable=False),
        sa.Column("value", sa.LargeBinary, nullable=False),
        sa.Column("headers", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_outbox"),
        schema=SCHEMA,
    )


def create_requests() -> None:
    op.create_table(
        "requests",
        sa.Column("tenant_id", sa.String, nullable=False),
        sa.Column("rpc", sa.String, nullable=False),
        sa.Column("request_id", sa.String, nullable=False),
        sa.Column("source_id", sa.String, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "rpc", "request_id", name="pk_requests"),
        sa.ForeignKeyConstraint(
            ["source_id"], [f"{SCHEMA}.sources.source_id"], name="fk_requests_source_id", ondelete="CASCADE"
        ),
        schema=SCHEMA,
    )
    op.create_index("ix_requests_at", "requests", ["at"], schema=SCHEMA)


def downgrade() -> None:
    for table in ("requests", "outbox", "documents", "sources"):
        op.drop_table(table, schema=SCHEMA)
