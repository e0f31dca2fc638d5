"""Interactions and ratings in PostgreSQL, each rating with its outbox row in one transaction."""

import contextlib
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Column, DateTime, Index, Row, Select, String, Table, any_, func, literal, select, tuple_
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, insert
from sqlalchemy.ext.asyncio import AsyncSession

from services.common.database import Sessions, is_away, schema_metadata
from services.common.identity import Identity
from services.common.outbox import Outbox, outbox_table
from services.feedback.adapters.messages import rating_record
from services.feedback.domain import Interaction, Opinion, Position, Rated, Rating, StoreUnavailable, Thumb

SCHEMA = "feedback"
EXPORT_BATCH = 200
# Stands for all subjects of a tenant among those that were erased.
EVERYBODY = ""

METADATA = schema_metadata(SCHEMA)
OUTBOX = outbox_table(METADATA)
INTERACTIONS = Table(
    "interactions",
    METADATA,
    Column("tenant_id", String, primary_key=True),
    Column("interaction_id", String, primary_key=True),
    Column("conversation_id", String, nullable=False),
    Column("subject", String, nullable=False),
    Column("asked_at", DateTime(timezone=True), nullable=False),
    Column("content", JSONB, nullable=False),
    Index("ix_interactions_newest", "tenant_id", "asked_at", "interaction_id"),
    Index("ix_interactions_conversation", "tenant_id", "conversation_id", "asked_at"),
    Index("ix_interactions_subject", "tenant_id", "subject", "conversation_id", "asked_at"),
)
# A rating may come before its interaction is recorded, so no foreign key ties the two.
RATINGS = Table(
    "ratings",
    METADATA,
    Column("tenant_id", String, primary_key=True),
    Column("interaction_id", String, primary_key=True),
    Column("subject", String, primary_key=True),
    Column("rating_id", String, nullable=False, unique=True),
    Column("thumb", String, nullable=False),
    Column("comment", String, nullable=False),
    Column("correction", String, nullable=False),
    Column("rated_at", DateTime(timezone=True), nullable=False),
    Index("ix_ratings_newest", "tenant_id", "rated_at", "rating_id"),
)
# What comes of somebody who was erased, and is older than that, was on its way then.
ERASED = Table(
    "erased_subjects",
    METADATA,
    Column("tenant_id", String, primary_key=True),
    Column("subject", String, primary_key=True),
    Column("erased_at", DateTime(timezone=True), nullable=False),
)
# Likewise of a conversation that its own subject deleted.
DELETED = Table(
    "deleted_conversations",
    METADATA,
    Column("tenant_id", String, primary_key=True),
    Column("subject", String, primary_key=True),
    Column("conversation_id", String, primary_key=True),
    Column("deleted_at", DateTime(timezone=True), nullable=False),
)


class PostgresFeedback:
    """Keeps interactions and ratings. Every method reads and writes one tenant's rows only.

    All methods raise StoreUnavailable when the database cannot be reached.
    """

    def __init__(self, sessions: Sessions, outbox: Outbox) -> None:
        self._sessions = sessions
        self._outbox = outbox

    async def add_interactions(self, identity: Identity, interactions: Sequence[Interaction]) -> int:
        """Keep the tenant's `interactions` and return how many were new; those already kept stay as they are.

        Those of somebody who was erased since, and of conversations that were deleted since, are not kept.
        """
        own = [interaction for interaction in interactions if interaction.tenant_id == identity.tenant_id]
        statement = insert(INTERACTIONS).on_conflict_do_nothing().returning(INTERACTIONS.c.interaction_id)
        with translated():
            async with self._sessions.begin() as session:
                await _wait_for_removals(session, identity.tenant_id)
                erased = await _erased(session, identity.tenant_id, {interaction.subject for interaction in own})
                deleted = await _deleted(session, identity.tenant_id, {one.conversation_id for one in own})
                rows = [
                    _interaction_row(interaction)
                    for interaction in own
                    if not _is_erased(interaction, erased) and not _is_deleted(interaction, deleted)
                ]
                return len((await session.execute(statement, rows)).all()) if rows else 0

    async def rate(self, identity: Identity, rating: Rating) -> tuple[Rating, bool]:
        """Keep the caller's `rating`, and say whether anything changed.

        An earlier opinion of the same subject is replaced, under its own rating_id; an
        identical one stays untouched, and nothing is published.
        """
        with translated():
            async with self._sessions.begin() as session:
                # The upsert locks the row before the outbox is written, so that two opinions
                # of one subject are published in the order in which they were kept.
                changed = (await session.execute(_upsert(identity, rating))).one_or_none()
                if changed is None:
                    return rating_of_row(await _identical(session, identity, rating)), False
                kept = rating_of_row(changed)
                await self._outbox.add(session, [rating_record(kept)])
        self._outbox.wake()
        return kept, True

    async def interactions(self, identity: Identity, after: Position | None, limit: int) -> list[Interaction]:
        """Return at most `limit` interactions of a tenant that come after a position, newest first."""
        query = select(INTERACTIONS).where(INTERACTIONS.c.tenant_id == identity.tenant_id)
        key = (INTERACTIONS.c.asked_at, INTERACTIONS.c.interaction_id)
        return [interaction_of_row(row) for row in await self._all(_newest_first(query, key, after).limit(limit))]

    async def ratings(self, identity: Identity, after: Position | None, limit: int) -> list[Rated]:
        """Return at most `limit` ratings of a tenant that come after a position, newest first."""
        key = (RATINGS.c.rated_at, RATINGS.c.rating_id)
        query = _newest_first(_with_interactions(identity), key, after)
        return [_rated(row) for row in await self._all(query.limit(limit))]

    async def export(self, identity: Identity, rated_after: datetime | None) -> AsyncGenerator[list[Rated]]:
        """Give a tenant's ratings from one snapshot, oldest first, in batches.

        The rows stay in the database until they are asked for.
        """
        query = _export(identity, rated_after).execution_options(yield_per=EXPORT_BATCH)
        with translated():
            async with self._sessions() as session:
                async for rows in (await session.stream(query)).partitions(EXPORT_BATCH):
                    yield [_rated(row) for row in rows]

    async def _all(self, query: Select[Any]) -> Sequence[Row[Any]]:
        with translated():
            async with self._sessions() as session:
                rows: Sequence[Row[Any]] = (await session.execute(query)).all()
                return rows


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Raise StoreUnavailable for a database that is not there."""
    try:
        yield
    except Exception as error:
        if is_away(error):
            raise StoreUnavailable("the database cannot be reached") from error
        raise


def any_of(values: Sequence[str]) -> Any:
    """Return what a column equals that has any of `values`, of which there may be any number."""
    return any_(literal(list(values), ARRAY(String)))


async def hold_off_interactions(session: AsyncSession, tenant_id: str) -> None:
    """Wait for who stores interactions of the tenant, and keep others from it until this transaction ends.

    Whoever stored them in between would have looked for what is removed before it was.
    """
    await session.execute(select(func.pg_advisory_xact_lock(_lock_of(tenant_id))))


async def _wait_for_removals(session: AsyncSession, tenant_id: str) -> None:
    await session.execute(select(func.pg_advisory_xact_lock_shared(_lock_of(tenant_id))))


def _lock_of(tenant_id: str) -> Any:
    return func.hashtextextended(f"{SCHEMA}.interactions/{tenant_id}", 0)


async def _deleted(
    session: AsyncSession, tenant_id: str, conversation_ids: set[str]
) -> dict[tuple[str, str], datetime]:
    """Return when conversations of these ids were deleted, by subject and id."""
    table = DELETED.c
    query = select(DELETED).where(table.tenant_id == tenant_id, table.conversation_id == any_of([*conversation_ids]))
    return {(row.subject, row.conversation_id): row.deleted_at for row in await session.execute(query)}


def _is_deleted(interaction: Interaction, deleted: Mapping[tuple[str, str], datetime]) -> bool:
    deleted_at = deleted.get((interaction.subject, interaction.conversation_id))
    return deleted_at is not None and interaction.asked_at <= deleted_at


async def _erased(session: AsyncSession, tenant_id: str, subjects: set[str]) -> dict[str, datetime]:
    """Return when each of `subjects`, and the whole tenant, was erased, if ever."""
    table = ERASED.c
    query = select(table.subject, table.erased_at).where(
        table.tenant_id == tenant_id, table.subject == any_of([EVERYBODY, *subjects])
    )
    return {row.subject: row.erased_at for row in await session.execute(query)}


def _is_erased(interaction: Interaction, erased: Mapping[str, datetime]) -> bool:
    return any(name in erased and interaction.asked_at <= erased[name] for name in (interaction.subject, EVERYBODY))


def _upsert(identity: Identity, rating: Rating) -> Any:
    statement = insert(RATINGS).values(_rating_row(identity, rating))
    new, old = statement.excluded, RATINGS.c
    return statement.on_conflict_do_update(
        index_elements=[old.tenant_id, old.interaction_id, old.subject],
        set_={name: new[name] for name in ("thumb", "comment", "correction", "rated_at")},
        where=tuple_(old.thumb, old.comment, old.correction) != tuple_(new.thumb, new.comment, new.correction),
    ).returning(*RATINGS.c)


async def _identical(session: Any, identity: Identity, rating: Rating) -> Row[Any]:
    table = RATINGS.c
    query = select(RATINGS).where(
        table.tenant_id == identity.tenant_id,
        table.interaction_id == rating.interaction_id,
        table.subject == identity.subject,
    )
    row: Row[Any] = (await session.execute(query)).one()
    return row


def _newest_first(query: Select[Any], key: tuple[Any, Any], after: Position | None) -> Select[Any]:
    if after:
        query = query.where(tuple_(*key) < tuple_(after.at, after.object_id))
    return query.order_by(*(column.desc() for column in key))


def _export(identity: Identity, rated_after: datetime | None) -> Select[Any]:
    query = _with_interactions(identity).order_by(RATINGS.c.rated_at, RATINGS.c.rating_id)
    return query if rated_after is None else query.where(RATINGS.c.rated_at >= rated_after)


def _with_interactions(identity: Identity) -> Select[Any]:
    told, rated = INTERACTIONS.c, RATINGS.c
    same = (told.tenant_id == rated.tenant_id) & (told.interaction_id == rated.interaction_id)
    return (
        select(*RATINGS.c, told.conversation_id, told.asked_at, told.content, told.subject.label("asker"))
        .select_from(RATINGS.outerjoin(INTERACTIONS, same))
        .where(rated.tenant_id == identity.tenant_id)
    )


def _interaction_row(interaction: Interaction) -> dict[str, object]:
    return {column.name: getattr(interaction, column.name) for column in INTERACTIONS.c}


def interaction_of_row(row: Row[Any]) -> Interaction:
    return Interaction(**{column.name: getattr(row, column.name) for column in INTERACTIONS.c})


def _rating_row(identity: Identity, rating: Rating) -> dict[str, object]:
    opinion = rating.opinion
    return {
        "tenant_id": identity.tenant_id,
        "interaction_id": rating.interaction_id,
        "subject": identity.subject,
        "rating_id": rating.rating_id,
        "thumb": opinion.thumb.value,
        "comment": opinion.comment,
        "correction": opinion.correction,
        "rated_at": rating.rated_at,
    }


def rating_of_row(row: Row[Any]) -> Rating:
    opinion = Opinion(Thumb(row.thumb), row.comment, row.correction)
    return Rating(row.rating_id, row.tenant_id, row.interaction_id, row.subject, opinion, row.rated_at)


def _rated(row: Row[Any]) -> Rated:
    if row.content is None:
        return Rated(rating_of_row(row), None)
    ids = (row.tenant_id, row.interaction_id, row.conversation_id, row.asker)
    return Rated(rating_of_row(row), Interaction(*ids, row.asked_at, row.content))
