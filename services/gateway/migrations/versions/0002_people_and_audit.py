"""What keys may do, the directory of people, the audit log, and erasures."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0002"
down_revision = "0001"

SCHEMA = "gateway"

TENANT = "tenant_id"

# Whoever may write the table may still not change or remove what is in it.
# Two statements: the driver takes one at a time.
APPEND_ONLY = (
    f"""
    CREATE FUNCTION {SCHEMA}.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'the audit log is append-only'; END $$
    """,
    f"""
    CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {SCHEMA}.audit
    FOR EACH STATEMENT EXECUTE FUNCTION {SCHEMA}.refuse_change()
    """,
)


def upgrade() -> None:
    for column in (
        # The keys made before roles could do everything.
        sa.Column("roles", sa.ARRAY(sa.String), nullable=False, server_default="{admin}"),
        sa.Column("expires_at", sa.DateTime(timezone=True)),
        sa.Column("acts_for_users", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("quota", JSONB, nullable=False, server_default="{}"),
    ):
        op.add_column("api_keys", column, schema=SCHEMA)
    create_directory()
    create_audit()
    create_erasures()


def create_directory() -> None:
    for name, key in (("users", "user_id"), ("groups", "group_id")):
        op.create_table(
            name,
            sa.Column(TENANT, sa.String, nullable=False),
            sa.Column(key, sa.String(collation="C"), nullable=False),
            sa.Column("display_name", sa.String, nullable=False),
            sa.PrimaryKeyConstraint(TENANT, key, name=f"pk_{name}"),
            sa.ForeignKeyConstraint([TENANT], [f"{SCHEMA}.tenants.{TENANT}"], name=f"fk_{name}_tenant_id"),
            schema=SCHEMA,
        )
    # A user's id is among the user's aliases here, so that ids and aliases are unique together.
    op.create_table(
        "aliases",
        sa.Column(TENANT, sa.String, nullable=False),
        sa.Column("alias", sa.String, nullable=False),
        sa.Column("user_id", sa.String(collation="C"), nullable=False),
        sa.PrimaryKeyConstraint(TENANT, "alias", name="pk_aliases"),
        sa.ForeignKeyConstraint(
            [TENANT, "user_id"],
            [f"{SCHEMA}.users.{TENANT}", f"{SCHEMA}.users.user_id"],
            name="fk_aliases_user_id",
            ondelete="CASCADE",
        ),
        schema=SCHEMA,
    )
    op.create_index("ix_aliases_user_id", "aliases", [TENANT, "user_id"], schema=SCHEMA)
    op.create_table(
        "memberships",
        sa.Column(TENANT, sa.String, nullable=False),
        sa.Column("group_id", sa.String(collation="C"), nullable=False),
        sa.Column("member", sa.String, nullable=False),
        sa.PrimaryKeyConstraint(TENANT, "group_id", "member", name="pk_memberships"),
        sa.ForeignKeyConstraint(
            [TENANT, "group_id"],
            [f"{SCHEMA}.groups.{TENANT}", f"{SCHEMA}.groups.group_id"],
            name="fk_memberships_group_id",
            ondelete="CASCADE",
        ),
        schema=SCHEMA,
    )
    op.create_index("ix_memberships_member", "memberships", [TENANT, "member"], schema=SCHEMA)


def create_audit() -> None:
    op.create_table(
        "audit",
        sa.Column("event_id", sa.BigInteger, sa.Identity(), nullable=False),
        sa.Column(TENANT, sa.String, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("subject", sa.String, nullable=False),
        sa.Column("actor", sa.String, nullable=False),
        sa.Column("rpc", sa.String, nullable=False),
        sa.Column("code", sa.String, nullable=False),
        sa.Column("request", JSONB, nullable=False),
        sa.Column("trace_id", sa.String, nullable=False),
        sa.Column("passages", JSONB, nullable=False),
        sa.PrimaryKeyConstraint("event_id", name="pk_audit"),
        schema=SCHEMA,
    )
    op.create_index("ix_audit_tenant", "audit", [TENANT, "event_id"], schema=SCHEMA)
    op.create_index(
        "ix_audit_passages",
        "audit",
        [sa.text("passages jsonb_path_ops")],
        postgresql_using="gin",
        schema=SCHEMA,
    )
    for statement in APPEND_ONLY:
        op.execute(statement)


def create_erasures() -> None:
    op.create_table(
        "erasures",
        sa.Column("erasure_id", sa.String, nullable=False),
        # No foreign key: an erasure outlives its tenant.
        sa.Column(TENANT, sa.String, nullable=False),
        sa.Column("user_id", sa.String, nullable=False),
        sa.Column("principals", sa.ARRAY(sa.String), nullable=False),
        sa.Column("requested_by", sa.String, nullable=False),
        sa.Column("removed", JSONB, nullable=False),
        sa.Column("stale_adapters", sa.ARRAY(sa.String), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.clock_timestamp()),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("erasure_id", name="pk_erasures"),
        schema=SCHEMA,
    )
    op.create_index(
        "uq_erasures_running",
        "erasures",
        [TENANT, "user_id"],
        unique=True,
        postgresql_where=sa.text("finished_at IS NULL"),
        schema=SCHEMA,
    )


def downgrade() -> None:
    for table in ("erasures", "audit", "memberships", "aliases", "groups", "users"):
        op.drop_table(table, schema=SCHEMA)
    op.execute(f"DROP FUNCTION {SCHEMA}.refuse_change()")
    for column in ("quota", "acts_for_users", "expires_at", "roles"):
        op.drop_column("api_keys", column, schema=SCHEMA)
