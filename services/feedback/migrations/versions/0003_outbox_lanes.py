"""Each tenant's records wait in a lane of their own, so that one's backlog is not ahead of another's."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

SCHEMA = "feedback"

# What waits already: a key is the tenant, "/", and the object.
FILL = """
UPDATE feedback.outbox SET lane = split_part(convert_from(key, 'UTF8'), '/', 1)
"""


def upgrade() -> None:
    lane = sa.Column("lane", sa.String(collation="C"), nullable=False, server_default="")
    op.add_column("outbox", lane, schema=SCHEMA)
    op.execute(FILL)
    op.create_index("ix_outbox_lane", "outbox", ["lane", "id"], schema=SCHEMA)
    op.alter_column("outbox", "lane", server_default=None, schema=SCHEMA)


def downgrade() -> None:
    op.drop_index("ix_outbox_lane", "outbox", schema=SCHEMA)
    op.drop_column("outbox", "lane", schema=SCHEMA)
