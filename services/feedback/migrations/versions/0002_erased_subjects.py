"""Who was erased, so that what was still on its way is not kept."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

SCHEMA = "feedback"


def upgrade() -> None:
    op.create_table(
        "erased_subjects",
        sa.Column("tenant_id", sa.String, nullable=False),
        sa.Column("subject", sa.String, nullable=False),
        sa.Column("erased_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "subject", name="pk_erased_subjects"),
        schema=SCHEMA,
    )


def downgrade() -> None:
    op.drop_table("erased_subjects", schema=SCHEMA)
