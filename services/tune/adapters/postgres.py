"""Rerankers and promotions in PostgreSQL."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Row, Select, func, select
from sqlalchemy.dialects.postgresql import insert as upsert

from services.common.database import Sessions
from services.common.identity import Identity
from services.tune.adapters.tables import PROMOTIONS, RERANKERS, newest_first, promotion_of, reranker_of, translated
from services.tune.domain.errors import RerankerNotFound
from services.tune.domain.runs import Position, Promotion, Reranker


class PostgresRerankers:
    """What runs made, and what of it was put into use.

    All methods raise StoreUnavailable when the database cannot be reached.
    """

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def find(self, identity: Identity, digest: str) -> Reranker:
        """Return a reranker of the tenant.

        Raises:
            RerankerNotFound: it has none of this digest.
        """
        query = select(RERANKERS).where(RERANKERS.c.tenant_id == identity.tenant_id, RERANKERS.c.digest == digest)
        # PostgreSQL keeps no such text, and refuses to look for it.
        row = None if "\0" in digest else await self._one(query)
        if row is None:
            raise RerankerNotFound("no such reranker")
        return reranker_of(row)

    async def page(self, identity: Identity, after: Position | None, limit: int) -> list[Reranker]:
        """Return at most `limit` rerankers of the tenant that come after a position, newest first."""
        query = select(RERANKERS).where(RERANKERS.c.tenant_id == identity.tenant_id)
        query = newest_first(query, (RERANKERS.c.created_at, RERANKERS.c.digest), after)
        return [reranker_of(row) for row in await self._all(query.limit(limit))]

    async def promotions(self, identity: Identity, after: Position | None, limit: int) -> list[Promotion]:
        """Return at most `limit` promotions of the tenant that come after a position, newest first."""
        query = select(PROMOTIONS).where(PROMOTIONS.c.tenant_id == identity.tenant_id)
        query = newest_first(query, (PROMOTIONS.c.promoted_at, PROMOTIONS.c.promotion_id), after)
        return [promotion_of(row) for row in await self._all(query.limit(limit))]

    async def promoted(self, identity: Identity) -> Promotion | None:
        """Return the last promotion that is no rollback and was not rolled back."""
        own = PROMOTIONS.c.tenant_id == identity.tenant_id
        undone = select(PROMOTIONS.c.undoes).where(own)
        query = select(PROMOTIONS).where(own, PROMOTIONS.c.undoes == "", PROMOTIONS.c.promotion_id.not_in(undone))
        query = newest_first(query, (PROMOTIONS.c.promoted_at, PROMOTIONS.c.promotion_id), None)
        row = await self._one(query.limit(1))
        return promotion_of(row) if row else None

    async def add_promotion(self, identity: Identity, promotion: Promotion) -> None:
        """Put down what was put into use; the same once more changes nothing."""
        row = {"tenant_id": identity.tenant_id} | asdict(promotion)
        with translated():
            async with self._sessions.begin() as session:
                await session.execute(upsert(PROMOTIONS).values(row).on_conflict_do_nothing())

    async def in_use(self) -> int:
        """Return how many tenants' last promotion put a reranker into use."""
        newest = (
            select(PROMOTIONS.c.tenant_id, PROMOTIONS.c.reranker)
            .distinct(PROMOTIONS.c.tenant_id)
            .order_by(PROMOTIONS.c.tenant_id, PROMOTIONS.c.promoted_at.desc())
            .subquery()
        )
        row = await self._one(select(func.count()).select_from(newest).where(newest.c.reranker != ""))
        return int(row[0]) if row else 0

    async def _one(self, query: Select[Any]) -> Row[Any] | None:
        found = await self._all(query)
        return found[0] if found else None

    async def _all(self, query: Select[Any]) -> Sequence[Row[Any]]:
        with translated():
            async with self._sessions() as session:
                rows: Sequence[Row[Any]] = (await session.execute(query)).all()
                return rows
