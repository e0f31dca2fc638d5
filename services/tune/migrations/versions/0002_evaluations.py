"""Sets of questions that are kept, their schedules, and their evaluations."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0002"
down_revision = "0001"

SCHEMA = "tune"
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "question_sets",
        sa.Column("tenant_id", sa.String, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sa.Column("questions", sa.Integer, nullable=False),
        sa.Column("digest", sa.String, nullable=False),
        sa.Column("subject", sa.String, nullable=False),
        sa.Column("put_at", MOMENT, nullable=False),
        sa.Column("every_hours", sa.Integer, nullable=False),
        sa.Column("next_at", MOMENT, nullable=True),
        sa.Column("ends_at", MOMENT, nullable=True),
        sa.Column("scheduled_by", sa.String, nullable=False),
        sa.Column("schedule", JSONB, nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "name", name="pk_question_sets"),
        schema=SCHEMA,
    )
    op.create_index(
        "ix_question_sets_due",
        "question_sets",
        ["next_at"],
        schema=SCHEMA,
        postgresql_where=sa.text("next_at IS NOT NULL"),
    )
    op.create_table(
        "evaluations",
        sa.Column("tenant_id", sa.String, nullable=False),
        sa.Column("evaluation_id", sa.String, nullable=False),
        sa.Column("set_name", sa.String, nullable=False),
        sa.Column("set_digest", sa.String, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("subject", sa.String, nullable=False),
        sa.Column("scheduled", sa.Boolean, nullable=False),
        sa.Column("questions", sa.Integer, nullable=False),
        sa.Column("searched", sa.Integer, nullable=False),
        sa.Column("work", JSONB, nullable=True),
        sa.Column("figures", JSONB, nullable=True),
        sa.Column("scores", JSONB, nullable=True),
        sa.Column("fall", sa.Double, nullable=False),
        sa.Column("failure", sa.String, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("leased_until", MOMENT, nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("started_at", MOMENT, nullable=True),
        sa.Column("ended_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "evaluation_id", name="pk_evaluations"),
        schema=SCHEMA,
    )
    op.create_index(
        "ix_evaluations_newest", "evaluations", ["tenant_id", "set_name", "created_at", "evaluation_id"], schema=SCHEMA
    )
    # A set has one evaluation at most that has not ended.
    op.create_index(
        "uq_evaluations_unfinished",
        "evaluations",
        ["tenant_id", "set_name"],
        schema=SCHEMA,
        unique=True,
        postgresql_where=sa.text("state IN ('queued', 'running')"),
    )


def downgrade() -> None:
    for table in ("evaluations", "question_sets"):
        op.drop_table(table, schema=SCHEMA)
