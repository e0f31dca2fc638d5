"""How much more a tenant's documents may take up, counted where nobody else can add to them."""

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from services.common.quotas import Quota, QuotaExceeded, Quotas, refused
from services.ingest.adapters import documents
from services.ingest.domain import Document, Usage, usage_of

# Room is made by deletions, not by time: this is when somebody may have made some.
RETRY_SECONDS = 60.0


class Room:
    """What is used of a tenant's quotas of documents and bytes, as the rows of one transaction change."""

    def __init__(self, quotas: Quotas, used: Usage) -> None:
        self._quotas = quotas
        self._used = used

    def take(self, before: Document | None, after: Document) -> QuotaExceeded | None:
        """Take the room that a row needs more, or return why it may not have it."""
        more = usage_of(after) - usage_of(before)
        used = self._used + more
        for quota, wanted, amount, limit in (
            (Quota.DOCUMENTS, more.documents, used.documents, self._quotas.documents),
            (Quota.BYTES, more.bytes, used.bytes, self._quotas.bytes),
        ):
            if limit and wanted > 0 and amount > limit:
                return refused(QuotaExceeded(quota, limit, RETRY_SECONDS))
        self._used = used
        return None


async def room_of(session: AsyncSession, tenant_id: str, quotas: Quotas) -> Room:
    """Return the room that a tenant has; until the commit, nobody else takes from it."""
    if not (quotas.documents or quotas.bytes):
        return Room(quotas, Usage())
    await session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"room/{tenant_id}", 0))))
    return Room(quotas, await documents.usage(session, tenant_id))
