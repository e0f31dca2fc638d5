"""People's own conversations in PostgreSQL: read, listed, and removed for good."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, delete, func, select, tuple_, update
from sqlalchemy.dialects.postgresql import aggregate_order_by, insert
from sqlalchemy.ext.asyncio import AsyncSession

from services.common.database import Sessions
from services.common.identity import Identity
from services.common.outbox import Outbox
from services.feedback.adapters.erasure import forget_unpublished
from services.feedback.adapters.messages import rating_record
from services.feedback.adapters.postgres import (
    DELETED,
    INTERACTIONS,
    RATINGS,
    any_of,
    hold_off_interactions,
    interaction_of_row,
    rating_of_row,
    translated,
)
from services.feedback.domain import Conversation, ConversationNotFound, Interaction, Position


class PostgresConversations:
    """Keeps the conversations of the tables of interactions. Every method sees the caller's own only.

    All methods raise StoreUnavailable when the database cannot be reached.
    """

    def __init__(self, sessions: Sessions, outbox: Outbox) -> None:
        self._sessions = sessions
        self._outbox = outbox

    async def turns(self, identity: Identity, conversation_id: str, limit: int) -> list[Interaction]:
        """Return the last turns of a conversation, oldest first.

        Raises:
            ConversationNotFound: the caller has none of this id.
        """
        _check(conversation_id)
        told = INTERACTIONS.c
        query = select(INTERACTIONS).where(_of(identity, conversation_id))
        query = query.order_by(told.asked_at.desc(), told.interaction_id.desc()).limit(limit)
        found = [interaction_of_row(row) for row in reversed(await self._all(query))]
        if not found:
            raise ConversationNotFound("no such conversation")
        return found

    async def page(self, identity: Identity, after: Position | None, limit: int) -> list[Conversation]:
        """Return at most `limit` conversations that come after a position, the one that went on last first."""
        return [_conversation(row) for row in await self._all(_page(identity, after, limit))]

    async def delete(self, identity: Identity, conversation_id: str, now: datetime) -> int:
        """Remove a conversation, what was written in ratings of it, and what is on its way; return its turns.

        Raises:
            ConversationNotFound: the caller has none of this id, and had none.
        """
        _check(conversation_id)
        own = _of(identity, conversation_id)
        with translated():
            async with self._sessions.begin() as session:
                await hold_off_interactions(session, identity.tenant_id)
                gone = delete(INTERACTIONS).where(own).returning(INTERACTIONS.c.interaction_id)
                ids = list(await session.scalars(gone))
                await _bury(session, identity, conversation_id, now if ids else None)
                await self._silence(session, identity, ids)
        self._outbox.wake()
        return len(ids)

    async def _silence(self, session: AsyncSession, identity: Identity, interaction_ids: Sequence[str]) -> None:
        """Take the texts out of the ratings of these, and tell so whoever heard of them."""
        rated = RATINGS.c
        statement = update(RATINGS).where(
            rated.tenant_id == identity.tenant_id, rated.interaction_id == any_of(interaction_ids)
        )
        silenced = (await session.execute(statement.values(comment="", correction="").returning(*rated))).all()
        await forget_unpublished(session, identity.tenant_id, (), set(interaction_ids))
        await self._outbox.add(session, [rating_record(rating_of_row(row)) for row in silenced])

    async def _all(self, query: Select[Any]) -> Sequence[Row[Any]]:
        with translated():
            async with self._sessions() as session:
                rows: Sequence[Row[Any]] = (await session.execute(query)).all()
                return rows


async def _bury(session: AsyncSession, identity: Identity, conversation_id: str, now: datetime | None) -> None:
    """Note that what is older than `now` is not to be kept; None where nothing was there.

    Raises:
        ConversationNotFound: nothing was there, and nothing is noted.
    """
    key = {"tenant_id": identity.tenant_id, "subject": identity.subject, "conversation_id": conversation_id}
    if now is None:
        known = select(DELETED.c.deleted_at).filter_by(**key)
        if (await session.execute(known)).one_or_none() is None:
            raise ConversationNotFound("no such conversation")
        return
    statement = insert(DELETED).values(**key, deleted_at=now)
    await session.execute(
        statement.on_conflict_do_update(index_elements=list(key), set_={"deleted_at": statement.excluded.deleted_at})
    )


def _of(identity: Identity, conversation_id: str) -> Any:
    told = INTERACTIONS.c
    return (
        (told.tenant_id == identity.tenant_id)
        & (told.subject == identity.subject)
        & (told.conversation_id == conversation_id)
    )


def _check(conversation_id: str) -> None:
    """Raise ConversationNotFound for an id that nobody has: PostgreSQL keeps no NUL, and refuses to look for it."""
    if "\0" in conversation_id:
        raise ConversationNotFound("no such conversation")


def _page(identity: Identity, after: Position | None, limit: int) -> Select[Any]:
    told = INTERACTIONS.c
    last = func.max(told.asked_at)
    oldest = aggregate_order_by(told.interaction_id, told.asked_at, told.interaction_id)
    newest = aggregate_order_by(told.interaction_id, told.asked_at.desc(), told.interaction_id.desc())
    grouped = (
        select(
            told.conversation_id,
            func.count().label("turns"),
            last.label("last_asked_at"),
            func.array_agg(oldest)[1].label("first_id"),
            func.array_agg(newest)[1].label("last_id"),
        )
        .where(told.tenant_id == identity.tenant_id, told.subject == identity.subject)
        .group_by(told.conversation_id)
        .order_by(last.desc(), told.conversation_id.desc())
        .limit(limit)
    )
    if after:
        grouped = grouped.having(tuple_(last, told.conversation_id) < tuple_(after.at, after.object_id))
    pages, first, latest = grouped.subquery(), INTERACTIONS.alias(), INTERACTIONS.alias()
    same_first = (first.c.tenant_id == identity.tenant_id) & (first.c.interaction_id == pages.c.first_id)
    same_last = (latest.c.tenant_id == identity.tenant_id) & (latest.c.interaction_id == pages.c.last_id)
    return (
        select(*first.c, pages.c.turns, pages.c.last_asked_at, latest.c.content["assistant"].astext.label("assistant"))
        .select_from(pages.join(first, same_first).join(latest, same_last))
        .order_by(pages.c.last_asked_at.desc(), pages.c.conversation_id.desc())
    )


def _conversation(row: Row[Any]) -> Conversation:
    return Conversation(interaction_of_row(row), row.turns, row.last_asked_at, row.assistant or "")
