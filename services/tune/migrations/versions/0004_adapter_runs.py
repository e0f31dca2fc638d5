"""Runs that train adapters, beside those that train rerankers."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0004"
down_revision = "0003"

SCHEMA = "tune"


def upgrade() -> None:
    for column in (
        sa.Column("training", JSONB, nullable=True),
        sa.Column("adapter", sa.String, nullable=False, server_default=""),
        sa.Column("passed", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("step", sa.Integer, nullable=False, server_default="0"),
        sa.Column("steps", sa.Integer, nullable=False, server_default="0"),
        sa.Column("loss", sa.Double, nullable=False, server_default="0"),
        sa.Column("eta_seconds", sa.Double, nullable=False, server_default="0"),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    ):
        op.add_column("runs", column, schema=SCHEMA)


def downgrade() -> None:
    op.execute("DELETE FROM tune.runs WHERE origin = 'dataset'")
    for name in ("attempts", "eta_seconds", "loss", "steps", "step", "passed", "adapter", "training"):
        op.drop_column("runs", name, schema=SCHEMA)
