"""Tunings, every version of each tenant."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None

SCHEMA = "retrieve"


def upgrade() -> None:
    op.create_table(
        "tunings",
        sa.Column("tenant_id", sa.String, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("content", JSONB, nullable=False),
        sa.Column("put_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "version", name="pk_tunings"),
        schema=SCHEMA,
    )


def downgrade() -> None:
    op.drop_table("tunings", schema=SCHEMA)
