"""Adapters, aliases and their history, canaries with what is counted of them, replicas' reports, and an outbox."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

revision = "0005"
down_revision = "0004"

SCHEMA = "tune"
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    create_adapters()
    create_aliases()
    create_canaries()
    create_replicas()
    create_outbox()


def create_adapters() -> None:
    op.create_table(
        "adapters",
        sa.Column("tenant_id", sa.String, nullable=False),
        sa.Column("digest", sa.String, nullable=False),
        sa.Column("run_id", sa.String, nullable=False),
        sa.Column("base", sa.String, nullable=False),
        sa.Column("rank", sa.Integer, nullable=False),
        sa.Column("method", sa.String, nullable=False),
        sa.Column("dataset", sa.String, nullable=False),
        sa.Column("parent", sa.String, nullable=False),
        sa.Column("seed", sa.BigInteger, nullable=False),
        sa.Column("documents", ARRAY(sa.String), nullable=False),
        sa.Column("people", ARRAY(sa.String), nullable=False),
        sa.Column("erased_people", sa.Integer, nullable=False),
        sa.Column("owner", sa.String, nullable=False),
        sa.Column("report", JSONB, nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "digest", name="pk_adapters"),
        schema=SCHEMA,
    )
    op.create_index("ix_adapters_newest", "adapters", ["tenant_id", "created_at", "digest"], schema=SCHEMA)


def create_aliases() -> None:
    # One sequence for all: an alias that is made anew, even after its tenant was erased, is newer than it was.
    op.execute(f"CREATE SEQUENCE {SCHEMA}.alias_revisions")
    op.create_table(
        "aliases",
        sa.Column("tenant_id", sa.String, nullable=False),
        sa.Column("alias", sa.String(collation="C"), nullable=False),
        sa.Column("digest", sa.String, nullable=False),
        sa.Column("cleared", sa.Boolean, nullable=False),
        sa.Column("owner", sa.String, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("subject", sa.String, nullable=False),
        sa.Column("canary_id", sa.String, nullable=False),
        sa.Column("deleted", sa.Boolean, nullable=False),
        sa.Column("changed_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "alias", name="pk_aliases"),
        schema=SCHEMA,
    )
    op.create_table(
        "alias_moves",
        sa.Column("tenant_id", sa.String, nullable=False),
        sa.Column("alias", sa.String(collation="C"), nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("action", sa.String, nullable=False),
        sa.Column("digest", sa.String, nullable=False),
        sa.Column("cleared", sa.Boolean, nullable=False),
        sa.Column("owner", sa.String, nullable=False),
        sa.Column("previous_digest", sa.String, nullable=False),
        sa.Column("previous_cleared", sa.Boolean, nullable=False),
        sa.Column("previous_owner", sa.String, nullable=False),
        sa.Column("canary_id", sa.String, nullable=False),
        sa.Column("canary_digest", sa.String, nullable=False),
        sa.Column("subject", sa.String, nullable=False),
        sa.Column("overridden", sa.Boolean, nullable=False),
        sa.Column("reason", sa.String, nullable=False),
        sa.Column("undoes", sa.BigInteger, nullable=False),
        sa.Column("moved_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "alias", "revision", name="pk_alias_moves"),
        schema=SCHEMA,
    )


def create_canaries() -> None:
    op.create_table(
        "canaries",
        sa.Column("tenant_id", sa.String, nullable=False),
        sa.Column("canary_id", sa.String, nullable=False),
        sa.Column("alias", sa.String(collation="C"), nullable=False),
        sa.Column("digest", sa.String, nullable=False),
        sa.Column("against", sa.String, nullable=False),
        sa.Column("share", sa.Double, nullable=False),
        sa.Column("cleared", sa.Boolean, nullable=False),
        sa.Column("rule", JSONB, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("subject", sa.String, nullable=False),
        sa.Column("look", JSONB, nullable=True),
        sa.Column("started_at", MOMENT, nullable=False),
        sa.Column("ended_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "canary_id", name="pk_canaries"),
        schema=SCHEMA,
    )
    # An alias tries one adapter at a time.
    op.create_index(
        "uq_canaries_running",
        "canaries",
        ["tenant_id", "alias"],
        schema=SCHEMA,
        unique=True,
        postgresql_where=sa.text("state = 'running'"),
    )
    op.create_table(
        "canary_decisions",
        sa.Column("tenant_id", sa.String, nullable=False),
        sa.Column("canary_id", sa.String, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("look", JSONB, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "canary_id", "at", name="pk_canary_decisions"),
        schema=SCHEMA,
    )
    create_counted()


def create_counted() -> None:
    """Make the tables of what is counted of a canary that runs; they are emptied of it when it ends."""
    op.create_table(
        "canary_answers",
        sa.Column("tenant_id", sa.String, nullable=False),
        sa.Column("interaction_id", sa.String, nullable=False),
        sa.Column("canary_id", sa.String, nullable=False),
        sa.Column("is_canary", sa.Boolean, nullable=False),
        sa.Column("conversation_id", sa.String, nullable=False),
        sa.Column("person", sa.String, nullable=False),
        sa.Column("failed", sa.Boolean, nullable=False),
        sa.Column("total_ms", sa.Integer, nullable=False),
        sa.Column("unsupported", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "interaction_id", name="pk_canary_answers"),
        schema=SCHEMA,
    )
    op.create_index("ix_canary_answers_canary", "canary_answers", ["tenant_id", "canary_id"], schema=SCHEMA)
    op.create_table(
        "canary_ratings",
        sa.Column("tenant_id", sa.String, nullable=False),
        sa.Column("rating_id", sa.String, nullable=False),
        sa.Column("interaction_id", sa.String, nullable=False),
        sa.Column("person", sa.String, nullable=False),
        sa.Column("up", sa.Boolean, nullable=False),
        sa.Column("first_at", MOMENT, nullable=False),
        sa.Column("rated_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "rating_id", name="pk_canary_ratings"),
        schema=SCHEMA,
    )
    op.create_index("ix_canary_ratings_interaction", "canary_ratings", ["tenant_id", "interaction_id"], schema=SCHEMA)
    op.create_table(
        "erased_people",
        sa.Column("tenant_id", sa.String, nullable=False),
        sa.Column("person", sa.String, nullable=False),
        sa.Column("erased_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "person", name="pk_erased_people"),
        schema=SCHEMA,
    )


def create_replicas() -> None:
    op.create_table(
        "adapter_replicas",
        sa.Column("tenant_id", sa.String, nullable=False),
        sa.Column("digest", sa.String, nullable=False),
        sa.Column("alias", sa.String(collation="C"), nullable=False),
        sa.Column("replica_id", sa.String, nullable=False),
        sa.Column("readiness", sa.String, nullable=False),
        sa.Column("reason", sa.String, nullable=False),
        sa.Column("load_ms", sa.BigInteger, nullable=False),
        sa.Column("reported_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "digest", "alias", "replica_id", name="pk_adapter_replicas"),
        schema=SCHEMA,
    )


def create_outbox() -> None:
    op.create_table(
        "outbox",
        sa.Column("id", sa.BigInteger, sa.Identity(), nullable=False),
        sa.Column("topic", sa.String, nullable=False),
        sa.Column("key", sa.LargeBinary, nullable=False),
        sa.Column("value", sa.LargeBinary, nullable=False),
        sa.Column("headers", sa.JSON, nullable=False),
        sa.Column("lane", sa.String(collation="C"), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_outbox"),
        schema=SCHEMA,
    )
    op.create_index("ix_outbox_lane", "outbox", ["lane", "id"], schema=SCHEMA)


def downgrade() -> None:
    for table in (
        "outbox",
        "adapter_replicas",
        "erased_people",
        "canary_ratings",
        "canary_answers",
        "canary_decisions",
        "canaries",
        "alias_moves",
        "aliases",
        "adapters",
    ):
        op.drop_table(table, schema=SCHEMA)
    op.execute(f"DROP SEQUENCE {SCHEMA}.alias_revisions")
