"""How each tenant's index is made, what is built beside it, and what others may read of it."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

SCHEMA = "ingest"

# What other services may know of it, by this database's clock alone: see services/common/indexes.py.
VIEW = """
CREATE VIEW ingest.tenant_index AS
SELECT tenant_id, live, live_key, state, other, other_key,
  state IN ('building', 'ready', 'kept')
    OR (state = 'dropping' AND changed_at > now() - interval '6 seconds') AS mirrored,
  state = 'dropping' AND changed_at < now() - interval '8 seconds' AS droppable
FROM ingest.tenant_indexes
"""


def upgrade() -> None:
    op.create_table(
        "tenant_indexes",
        sa.Column("tenant_id", sa.String, nullable=False),
        sa.Column("live", sa.String, nullable=False),
        sa.Column("live_key", sa.String, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("other", sa.String, nullable=False),
        sa.Column("other_key", sa.String, nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("listed", sa.Boolean, nullable=False),
        sa.Column("builds", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", name="pk_tenant_indexes"),
        schema=SCHEMA,
    )
    op.create_table(
        "builds",
        sa.Column("document_id", sa.String, nullable=False),
        sa.Column("tenant_id", sa.String, nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True)),
        sa.Column("done", sa.Boolean, nullable=False),
        sa.Column("reason", sa.String, nullable=False),
        sa.Column("chunk_count", sa.Integer, nullable=False),
        sa.Column("suspicious_chunk_count", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("document_id", name="pk_builds"),
        sa.ForeignKeyConstraint(
            ["document_id"],
            [f"{SCHEMA}.documents.document_id"],
            name="fk_builds_document_id_documents",
            ondelete="CASCADE",
        ),
        schema=SCHEMA,
    )
    op.create_index("ix_builds_tenant_id", "builds", ["tenant_id", "done"], schema=SCHEMA)
    op.execute(VIEW)


def downgrade() -> None:
    op.execute(f"DROP VIEW {SCHEMA}.tenant_index")
    for table in ("builds", "tenant_indexes"):
        op.drop_table(table, schema=SCHEMA)
