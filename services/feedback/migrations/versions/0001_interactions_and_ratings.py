"""Interactions, ratings, and the outbox that publishes ratings."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None

SCHEMA = "feedback"


def upgrade() -> None:
    op.create_table(
        "interactions",
        sa.Column("tenant_id", sa.String, nullable=False),
        sa.Column("interaction_id", sa.String, nullable=False),
        sa.Column("conversation_id", sa.String, nullable=False),
        sa.Column("subject", sa.String, nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("content", JSONB, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "interaction_id", name="pk_interactions"),
        schema=SCHEMA,
    )
    op.create_index(
        "ix_interactions_newest", "interactions", ["tenant_id", "asked_at", "interaction_id"], schema=SCHEMA
    )
    op.create_index(
        "ix_interactions_conversation", "interactions", ["tenant_id", "conversation_id", "asked_at"], schema=SCHEMA
    )
    op.create_table(
        "ratings",
        sa.Column("tenant_id", sa.String, nullable=False),
        sa.Column("interaction_id", sa.String, nullable=False),
        sa.Column("subject", sa.String, nullable=False),
        sa.Column("rating_id", sa.String, nullable=False),
        sa.Column("thumb", sa.String, nullable=False),
        sa.Column("comment", sa.String, nullable=False),
        sa.Column("correction", sa.String, nullable=False),
        sa.Column("rated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "interaction_id", "subject", name="pk_ratings"),
        sa.UniqueConstraint("rating_id", name="uq_ratings_rating_id"),
        schema=SCHEMA,
    )
    op.create_index("ix_ratings_newest", "ratings", ["tenant_id", "rated_at", "rating_id"], schema=SCHEMA)
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


def downgrade() -> None:
    for table in ("outbox", "ratings", "interactions"):
        op.drop_table(table, schema=SCHEMA)
