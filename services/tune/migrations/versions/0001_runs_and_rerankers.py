"""Runs, the rerankers that they made, what was put into use, and who was erased."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

revision = "0001"
down_revision = None

SCHEMA = "tune"
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "runs",
        sa.Column("tenant_id", sa.String, nullable=False),
        sa.Column("run_id", sa.String, nullable=False),
        sa.Column("request_id", sa.String, nullable=True),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("stage", sa.String, nullable=False),
        sa.Column("progress", sa.Double, nullable=False),
        sa.Column("subject", sa.String, nullable=False),
        sa.Column("base", sa.String, nullable=False),
        sa.Column("origin", sa.String, nullable=False),
        sa.Column("seed", sa.BigInteger, nullable=False),
        sa.Column("work", JSONB, nullable=True),
        sa.Column("reranker", sa.String, nullable=False),
        sa.Column("failure", sa.String, nullable=False),
        sa.Column("failure_message", sa.String, nullable=False),
        sa.Column("report", JSONB, nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("started_at", MOMENT, nullable=True),
        sa.Column("ended_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "run_id", name="pk_runs"),
        sa.UniqueConstraint("tenant_id", "request_id", name="uq_runs_tenant_id"),
        schema=SCHEMA,
    )
    op.create_index("ix_runs_newest", "runs", ["tenant_id", "created_at", "run_id"], schema=SCHEMA)
    op.create_index(
        "ix_runs_unfinished",
        "runs",
        ["created_at"],
        schema=SCHEMA,
        postgresql_where=sa.text("state IN ('queued', 'running')"),
    )
    op.create_table(
        "rerankers",
        sa.Column("tenant_id", sa.String, nullable=False),
        sa.Column("digest", sa.String, nullable=False),
        sa.Column("run_id", sa.String, nullable=False),
        sa.Column("base", sa.String, nullable=False),
        sa.Column("report", JSONB, nullable=False),
        sa.Column("documents", ARRAY(sa.String), nullable=False),
        sa.Column("people", ARRAY(sa.String), nullable=False),
        sa.Column("erased_people", sa.Integer, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "digest", name="pk_rerankers"),
        schema=SCHEMA,
    )
    op.create_index("ix_rerankers_newest", "rerankers", ["tenant_id", "created_at", "digest"], schema=SCHEMA)
    op.create_table(
        "promotions",
        sa.Column("tenant_id", sa.String, nullable=False),
        sa.Column("promotion_id", sa.String, nullable=False),
        sa.Column("reranker", sa.String, nullable=False),
        sa.Column("previous", sa.String, nullable=False),
        sa.Column("rerank_weight", sa.Double, nullable=False),
        sa.Column("previous_weight", sa.Double, nullable=False),
        sa.Column("tuning_version", sa.BigInteger, nullable=False),
        sa.Column("subject", sa.String, nullable=False),
        sa.Column("overridden", sa.Boolean, nullable=False),
        sa.Column("undoes", sa.String, nullable=False),
        sa.Column("promoted_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "promotion_id", name="pk_promotions"),
        schema=SCHEMA,
    )
    op.create_index("ix_promotions_newest", "promotions", ["tenant_id", "promoted_at", "promotion_id"], schema=SCHEMA)


def downgrade() -> None:
    for table in ("promotions", "rerankers", "runs"):
        op.drop_table(table, schema=SCHEMA)
