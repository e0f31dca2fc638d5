"""Assistants have versions, which never change; the table of assistants says which one is in use."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0003"
down_revision = "0002"

SCHEMA = "gateway"
CONTENT = ("instructions", "sources", "adapter", "top_k", "without_retrieval")

# What is there becomes the first version of each.
FIRST = f"""
INSERT INTO {SCHEMA}.assistant_versions (tenant_id, name, version, content)
SELECT tenant_id, name, 1, jsonb_build_object({", ".join(f"'{name}', {name}" for name in CONTENT)})
FROM {SCHEMA}.assistants
"""  # of constants  # noqa: S608  # nosec B608
# The last version of each, as one row held it.
LAST = f"""
UPDATE {SCHEMA}.assistants SET instructions = content ->> 'instructions', adapter = content ->> 'adapter',
top_k = (content -> 'top_k')::integer, without_retrieval = (content -> 'without_retrieval')::boolean,
sources = ARRAY(SELECT jsonb_array_elements_text(content -> 'sources'))
FROM {SCHEMA}.assistant_versions AS versions
WHERE versions.tenant_id = assistants.tenant_id AND versions.name = assistants.name
AND versions.version = assistants.version
"""  # likewise  # noqa: S608  # nosec B608


def upgrade() -> None:
    op.create_table(
        "assistant_versions",
        sa.Column("tenant_id", sa.String, nullable=False),
        sa.Column("name", sa.String(collation="C"), nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("content", JSONB, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.clock_timestamp()),
        sa.PrimaryKeyConstraint("tenant_id", "name", "version", name="pk_assistant_versions"),
        sa.ForeignKeyConstraint(["tenant_id"], [f"{SCHEMA}.tenants.tenant_id"], name="fk_assistant_versions_tenant_id"),
        schema=SCHEMA,
    )
    op.execute(FIRST)
    for column in (
        sa.Column("version", sa.BigInteger, nullable=False, server_default="1"),
        sa.Column("in_use", sa.Boolean, nullable=False, server_default=sa.true()),
    ):
        op.add_column("assistants", column, schema=SCHEMA)
        op.alter_column("assistants", column.name, server_default=None, schema=SCHEMA)
    for name in CONTENT:
        op.drop_column("assistants", name, schema=SCHEMA)


def downgrade() -> None:
    for column in (
        sa.Column("instructions", sa.String, nullable=False, server_default=""),
        sa.Column("sources", sa.ARRAY(sa.String), nullable=False, server_default="{}"),
        sa.Column("adapter", sa.String, nullable=False, server_default=""),
        sa.Column("top_k", sa.Integer, nullable=False, server_default="0"),
        sa.Column("without_retrieval", sa.Boolean, nullable=False, server_default=sa.false()),
    ):
        op.add_column("assistants", column, schema=SCHEMA)
    op.execute(f"DELETE FROM {SCHEMA}.assistants WHERE NOT in_use")  # of constants  # noqa: S608  # nosec B608
    op.execute(LAST)
    for name in CONTENT:
        op.alter_column("assistants", name, server_default=None, schema=SCHEMA)
    for name in ("version", "in_use"):
        op.drop_column("assistants", name, schema=SCHEMA)
    op.drop_table("assistant_versions", schema=SCHEMA)
