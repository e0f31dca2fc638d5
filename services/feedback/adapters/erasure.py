"""Interactions and ratings of people, or of a whole tenant, removed from PostgreSQL."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, delete, or_, select, true
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from tandem.feedback.v1 import events_pb2

from services.common import bus
from services.common.database import Sessions
from services.common.identity import Identity
from services.feedback.adapters.postgres import (
    DELETED,
    ERASED,
    EVERYBODY,
    INTERACTIONS,
    OUTBOX,
    RATINGS,
    any_of,
    hold_off_interactions,
    translated,
)

BATCH = 1000


class PostgresErasure:
    """Removes what one tenant has of people; what arrives of them afterwards, of before, is not kept either.

    All methods raise StoreUnavailable when the database cannot be reached.
    """

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def erase(self, identity: Identity, subjects: Sequence[str] | None, now: datetime) -> dict[str, int]:
        """Remove what these subjects asked and rated, and ratings of it; None is everybody of the tenant.

        Returns how many of each kind were removed, of none where nothing is left.
        """
        with translated():
            async with self._sessions.begin() as session:
                await _note(session, identity.tenant_id, subjects, now)
            async with self._sessions.begin() as session:
                return await _removed(session, identity.tenant_id, subjects)


async def _note(session: AsyncSession, tenant_id: str, subjects: Sequence[str] | None, now: datetime) -> None:
    names = [EVERYBODY] if subjects is None else sorted(set(subjects))
    rows = [{"tenant_id": tenant_id, "subject": name, "erased_at": now} for name in names]
    statement = insert(ERASED)
    latest = statement.on_conflict_do_update(
        index_elements=[ERASED.c.tenant_id, ERASED.c.subject], set_={"erased_at": statement.excluded.erased_at}
    )
    await session.execute(latest, rows)


async def _removed(session: AsyncSession, tenant_id: str, subjects: Sequence[str] | None) -> dict[str, int]:
    await hold_off_interactions(session, tenant_id)
    told, rated, deleted = INTERACTIONS.c, RATINGS.c, DELETED.c
    gone = delete(INTERACTIONS).where(told.tenant_id == tenant_id, _of(told.subject, subjects))
    ids = list(await session.scalars(gone.returning(told.interaction_id)))
    theirs = or_(_of(rated.subject, subjects), rated.interaction_id == any_of(ids))
    ratings = await session.execute(
        delete(RATINGS).where(rated.tenant_id == tenant_id, theirs).returning(rated.rating_id)
    )
    buried = delete(DELETED).where(deleted.tenant_id == tenant_id, _of(deleted.subject, subjects))
    notes = await session.execute(buried.returning(deleted.conversation_id))
    counts = {
        "interactions": len(ids),
        "ratings": len(ratings.all()),
        "unpublished ratings": await forget_unpublished(session, tenant_id, subjects, set(ids)),
        "deleted conversations": len(notes.all()),
    }
    return {kind: count for kind, count in counts.items() if count}


async def forget_unpublished(
    session: AsyncSession, tenant_id: str, subjects: Sequence[str] | None, interaction_ids: set[str]
) -> int:
    """Remove ratings by these people, or of these interactions, that wait to be published; return how many."""
    waiting = await _unpublished(session, tenant_id, subjects, interaction_ids)
    await session.execute(delete(OUTBOX).where(OUTBOX.c.id.in_(waiting)))
    return len(waiting)


async def _unpublished(
    session: AsyncSession, tenant_id: str, subjects: Sequence[str] | None, interaction_ids: set[str]
) -> list[int]:
    """Return the ids of the outbox's rows that tell of these people, or of these interactions."""
    query = select(OUTBOX.c.id, OUTBOX.c.value).where(OUTBOX.c.topic == bus.RATINGS)
    found = []
    async for row in await session.stream(query.execution_options(yield_per=BATCH)):
        rating = events_pb2.RatingRecorded.FromString(row.value)
        theirs = subjects is None or rating.subject in subjects or rating.interaction_id in interaction_ids
        if rating.tenant_id == tenant_id and theirs:
            found.append(row.id)
    return found


def _of(subject: Any, subjects: Sequence[str] | None) -> ColumnElement[bool]:
    return true() if subjects is None else subject == any_of(subjects)
