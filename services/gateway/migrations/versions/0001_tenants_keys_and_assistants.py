"""Tenants, their API keys, and their assistants."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

SCHEMA = "gateway"


def upgrade() -> None:
    op.create_table(
        "tenants",
        sa.Column("tenant_id", sa.String, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.PrimaryKeyConstraint("tenant_id", name="pk_tenants"),
        schema=SCHEMA,
    )
    op.create_table(
        "api_keys",
        sa.Column("key_id", sa.String, nullable=False),
        sa.Column("tenant_id", sa.String, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("mac", sa.LargeBinary, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.clock_timestamp()),
        sa.Column("revoked_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("key_id", name="pk_api_keys"),
        sa.ForeignKeyConstraint(["tenant_id"], [f"{SCHEMA}.tenants.tenant_id"], name="fk_api_keys_tenant_id"),
        schema=SCHEMA,
    )
    op.create_index("ix_api_keys_newest", "api_keys", ["tenant_id", "created_at", "key_id"], schema=SCHEMA)
    op.create_table(
        "assistants",
        sa.Column("tenant_id", sa.String, nullable=False),
        sa.Column("name", sa.String(collation="C"), nullable=False),
        sa.Column("instructions", sa.String, nullable=False),
        sa.Column("sources", sa.ARRAY(sa.String), nullable=False),
        sa.Column("adapter", sa.String, nullable=False),
        sa.Column("top_k", sa.Integer, nullable=False),
        sa.Column("without_retrieval", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "name", name="pk_assistants"),
        sa.ForeignKeyConstraint(["tenant_id"], [f"{SCHEMA}.tenants.tenant_id"], name="fk_assistants_tenant_id"),
        schema=SCHEMA,
    )


def downgrade() -> None:
    for table in ("assistants", "api_keys", "tenants"):
        op.drop_table(table, schema=SCHEMA)
