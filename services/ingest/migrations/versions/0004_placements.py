"""Where each tenant is, what a move has still to copy, and what others may read of it."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

SCHEMA = "ingest"

# What other services may know of it, by this database's clock alone: see services/common/placements.py.
VIEW = """
CREATE VIEW ingest.tenant_placements AS
SELECT tenant_id, place, state, other_place,
  state = 'copying' OR (state = 'emptying' AND moved_at > now() - interval '6 seconds') AS mirrored,
  state = 'emptying' AND moved_at < now() - interval '8 seconds' AS emptiable
FROM ingest.placements
"""


def upgrade() -> None:
    op.create_table(
        "placements",
        sa.Column("tenant_id", sa.String, nullable=False),
        sa.Column("place", sa.String, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("other_place", sa.String, nullable=False),
        sa.Column("moved_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("listed", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", name="pk_placements"),
        schema=SCHEMA,
    )
    op.create_table(
        "copies",
        sa.Column("tenant_id", sa.String, nullable=False),
        sa.Column("document_id", sa.String, nullable=False),
        sa.Column("sent", sa.Boolean, nullable=False),
        sa.Column("done", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "document_id", name="pk_copies"),
        schema=SCHEMA,
    )
    op.execute(VIEW)


def downgrade() -> None:
    op.execute(f"DROP VIEW {SCHEMA}.tenant_placements")
    for table in ("copies", "placements"):
        op.drop_table(table, schema=SCHEMA)
