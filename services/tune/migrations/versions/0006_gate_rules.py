"""The rules by which a tenant's adapters are judged, version by version."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

SCHEMA = "tune"


def upgrade() -> None:
    op.create_table(
        "gate_rules",
        sa.Column("tenant_id", sa.String, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("content", sa.String, nullable=False),
        sa.Column("subject", sa.String, nullable=False),
        sa.Column("put_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "version", name="pk_gate_rules"),
        schema=SCHEMA,
    )


def downgrade() -> None:
    op.drop_table("gate_rules", schema=SCHEMA)
