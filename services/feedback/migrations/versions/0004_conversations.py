"""Conversations are listed by who asked, and those that were deleted are remembered."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

SCHEMA = "feedback"


def upgrade() -> None:
    op.create_table(
        "deleted_conversations",
        sa.Column("tenant_id", sa.String, nullable=False),
        sa.Column("subject", sa.String, nullable=False),
        sa.Column("conversation_id", sa.String, nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "subject", "conversation_id", name="pk_deleted_conversations"),
        schema=SCHEMA,
    )
    op.create_index(
        "ix_interactions_subject",
        "interactions",
        ["tenant_id", "subject", "conversation_id", "asked_at"],
        schema=SCHEMA,
    )


def downgrade() -> None:
    op.drop_index("ix_interactions_subject", "interactions", schema=SCHEMA)
    op.drop_table("deleted_conversations", schema=SCHEMA)
