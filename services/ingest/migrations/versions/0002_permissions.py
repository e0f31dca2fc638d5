"""Owners, large sets of readers, contents that can be removed, secrets, and what others may read of it all."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0002"
down_revision = "0001"

SCHEMA = "ingest"

# What other services may know of the manifest: see services/common/permissions.py.
READABLE = """
CREATE VIEW ingest.readable_documents AS
SELECT tenant_id, document_id, CASE reader_set WHEN '' THEN readers ELSE '{}' END AS readers, reader_set
FROM ingest.documents WHERE state IN ('pending', 'indexed')
"""
# Every content that is kept was counted by nobody so far.
COUNT_BLOBS = """
INSERT INTO ingest.blobs (blob_key, tenant_id, size_bytes, doubted, put_at)
SELECT blob_key, min(tenant_id), max(size_bytes), false, now() FROM ingest.documents
WHERE blob_key <> '' GROUP BY blob_key
"""


# Who made a source is not known; the documents of one that reads itself have no readers of their own.
FOLLOWING = """
UPDATE ingest.documents SET follows_source = true
FROM ingest.sources WHERE sources.source_id = documents.source_id AND sources.kind = 'files'
"""


def upgrade() -> None:
    op.add_column("sources", sa.Column("owner", sa.String, nullable=False, server_default=""), schema=SCHEMA)
    for column in (
        sa.Column("owner", sa.String, nullable=False, server_default=""),
        sa.Column("follows_source", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("reader_set", sa.String, nullable=False, server_default=""),
        sa.Column("suspicious_chunk_count", sa.Integer, nullable=False, server_default="0"),
        sa.Column("narrowed_at", sa.DateTime(timezone=True)),
        sa.Column("former_blobs", ARRAY(sa.String), nullable=False, server_default="{}"),
    ):
        op.add_column("documents", column, schema=SCHEMA)
    op.create_index("ix_documents_blob_key", "documents", ["blob_key"], schema=SCHEMA)
    op.create_index("ix_documents_former_blobs", "documents", ["former_blobs"], postgresql_using="gin", schema=SCHEMA)
    op.create_index(
        "ix_documents_reader_set",
        "documents",
        ["tenant_id", "reader_set"],
        postgresql_where=sa.text("reader_set <> ''"),
        schema=SCHEMA,
    )
    create_reader_sets()
    create_blobs()
    create_secrets()
    op.execute(FOLLOWING)
    op.execute(READABLE)


def create_reader_sets() -> None:
    op.create_table(
        "reader_sets",
        sa.Column("tenant_id", sa.String, nullable=False),
        sa.Column("set_id", sa.String, nullable=False),
        sa.Column("member", sa.String, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "set_id", "member", name="pk_reader_sets"),
        schema=SCHEMA,
    )
    op.create_index("ix_reader_sets_member", "reader_sets", ["tenant_id", "member"], schema=SCHEMA)


def create_blobs() -> None:
    op.create_table(
        "blobs",
        sa.Column("blob_key", sa.String, nullable=False),
        sa.Column("tenant_id", sa.String, nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("doubted", sa.Boolean, nullable=False),
        sa.Column("generation", sa.BigInteger, sa.Identity(), nullable=False),
        sa.Column("put_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("blob_key", name="pk_blobs"),
        schema=SCHEMA,
    )
    op.create_index("ix_blobs_doubted", "blobs", ["blob_key"], postgresql_where=sa.text("doubted"), schema=SCHEMA)
    op.create_index("ix_blobs_tenant_id", "blobs", ["tenant_id"], schema=SCHEMA)
    op.create_index("ix_blobs_put_at", "blobs", ["put_at"], schema=SCHEMA)
    op.execute(COUNT_BLOBS)


def create_secrets() -> None:
    op.create_table(
        "secrets",
        sa.Column("tenant_id", sa.String, nullable=False),
        sa.Column("name", sa.String(collation="C"), nullable=False),
        sa.Column("key_id", sa.String, nullable=False),
        sa.Column("wrapped_key", sa.LargeBinary, nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "name", name="pk_secrets"),
        schema=SCHEMA,
    )
    op.create_index("ix_secrets_key_id", "secrets", ["key_id"], schema=SCHEMA)


def downgrade() -> None:
    op.execute(f"DROP VIEW {SCHEMA}.readable_documents")
    for table in ("secrets", "blobs", "reader_sets"):
        op.drop_table(table, schema=SCHEMA)
    for index in ("ix_documents_reader_set", "ix_documents_former_blobs", "ix_documents_blob_key"):
        op.drop_index(index, "documents", schema=SCHEMA)
    for column in ("former_blobs", "narrowed_at", "suspicious_chunk_count", "reader_set", "follows_source", "owner"):
        op.drop_column("documents", column, schema=SCHEMA)
    op.drop_column("sources", "owner", schema=SCHEMA)
