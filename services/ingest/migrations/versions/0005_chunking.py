"""How each source wants its documents cut; and all documents given to the index again, whose schema is new."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0005"
down_revision = "0004"

SCHEMA = "ingest"

# The index's schema 3 is another collection, empty at first. What was published long ago and is
# not answered the reconciler gives to the index, in windows, so nothing is flooded here.
RENEW = """
UPDATE ingest.documents SET version = version + 1, state = 'pending', awaiting = true, recorded_at = now(),
  published_at = now() - interval '1 day', publications = 1
WHERE state IN ('pending', 'indexed')
"""


def upgrade() -> None:
    op.add_column("sources", sa.Column("chunking", JSONB, nullable=False, server_default="{}"), schema=SCHEMA)
    op.execute(RENEW)


def downgrade() -> None:
    op.drop_column("sources", "chunking", schema=SCHEMA)
