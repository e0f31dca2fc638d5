"""Who was erased, so that adapters that learnt from them are known as stale."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

SCHEMA = "generate"


def upgrade() -> None:
    op.create_table(
        "erased_people",
        sa.Column("tenant_id", sa.String, nullable=False),
        sa.Column("principal", sa.String, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "principal", name="pk_erased_people"),
        schema=SCHEMA,
    )


def downgrade() -> None:
    op.drop_table("erased_people", schema=SCHEMA)
