"""Builds of data sets, and what is known of the data sets that they made."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

revision = "0003"
down_revision = "0002"

SCHEMA = "tune"
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "dataset_builds",
        sa.Column("tenant_id", sa.String, nullable=False),
        sa.Column("build_id", sa.String, nullable=False),
        sa.Column("request_id", sa.String, nullable=True),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("stage", sa.String, nullable=False),
        sa.Column("progress", sa.Double, nullable=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("origins", ARRAY(sa.String), nullable=False),
        sa.Column("subject", sa.String, nullable=False),
        sa.Column("work", JSONB, nullable=True),
        sa.Column("dataset", sa.String, nullable=False),
        sa.Column("failure", sa.String, nullable=False),
        sa.Column("failure_message", sa.String, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("started_at", MOMENT, nullable=True),
        sa.Column("ended_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "build_id", name="pk_dataset_builds"),
        sa.UniqueConstraint("tenant_id", "request_id", name="uq_dataset_builds_tenant_id"),
        schema=SCHEMA,
    )
    op.create_index(
        "ix_dataset_builds_newest", "dataset_builds", ["tenant_id", "created_at", "build_id"], schema=SCHEMA
    )
    op.create_index(
        "ix_dataset_builds_unfinished",
        "dataset_builds",
        ["created_at"],
        schema=SCHEMA,
        postgresql_where=sa.text("state IN ('queued', 'running')"),
    )
    op.create_table(
        "datasets",
        sa.Column("tenant_id", sa.String, nullable=False),
        sa.Column("digest", sa.String, nullable=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("train_rows", sa.Integer, nullable=False),
        sa.Column("validation_rows", sa.Integer, nullable=False),
        sa.Column("test_rows", sa.Integer, nullable=False),
        sa.Column("origins", ARRAY(sa.String), nullable=False),
        sa.Column("fit", sa.Boolean, nullable=False),
        sa.Column("reasons", ARRAY(sa.String), nullable=False),
        sa.Column("build_id", sa.String, nullable=False),
        sa.Column("subject", sa.String, nullable=False),
        sa.Column("documents", ARRAY(sa.String), nullable=False),
        sa.Column("people", ARRAY(sa.String), nullable=False),
        sa.Column("erased_people", sa.Integer, nullable=False),
        sa.Column("erased", sa.Boolean, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "digest", name="pk_datasets"),
        schema=SCHEMA,
    )
    op.create_index("ix_datasets_newest", "datasets", ["tenant_id", "created_at", "digest"], schema=SCHEMA)


def downgrade() -> None:
    for table in ("datasets", "dataset_builds"):
        op.drop_table(table, schema=SCHEMA)
