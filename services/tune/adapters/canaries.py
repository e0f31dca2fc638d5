"""Canaries in PostgreSQL: what is counted of them as records come, and what the rule said."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from sqlalchemy import ARRAY, String, any_, func, literal, select, text, tuple_
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncSession

from services.common.database import Sessions
from services.tune.adapters.canary_rows import counts, keep_decision
from services.tune.adapters.registry_tables import ANSWERS, CANARIES, DECISIONS, ERASED, RATINGS, canary_of, look_of
from services.tune.adapters.tables import translated
from services.tune.domain.canaries import Canary, CanaryState, Look, look_at

# How often it is put down that a canary goes on.
TOLD_EVERY = timedelta(minutes=10)
SHOWN_DECISIONS = 50
_EVER = datetime.min.replace(tzinfo=UTC)
_DECIDING = text("SELECT pg_try_advisory_xact_lock(hashtextextended('tune.canaries', 0))")


@dataclass(frozen=True, slots=True)
class CountedAnswer:
    """An answer that was given while a canary ran, or that broke off then; `person` is as of person_of."""

    tenant_id: str
    interaction_id: str
    canary_id: str
    is_canary: bool
    conversation_id: str
    person: str
    failed: bool
    total_ms: int
    unsupported: bool
    at: datetime


@dataclass(frozen=True, slots=True)
class CountedRating:
    """What somebody thinks of an answer; `person` is as of person_of."""

    tenant_id: str
    rating_id: str
    interaction_id: str
    person: str
    up: bool
    rated_at: datetime

    @property
    def at(self) -> datetime:
        return self.rated_at


Told = TypeVar("Told", CountedAnswer, CountedRating)


class PostgresCanaries:
    """The canaries of all tenants. All methods raise StoreUnavailable when the database cannot be reached."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def note_answers(self, answers: Sequence[CountedAnswer]) -> int:
        """Keep the answers of canaries that run, each once, and return how many were new."""
        wanted = {(each.tenant_id, each.canary_id) for each in answers}
        running = select(CANARIES.c.tenant_id, CANARIES.c.canary_id).where(
            CANARIES.c.state == CanaryState.RUNNING.value,
            tuple_(CANARIES.c.tenant_id, CANARIES.c.canary_id).in_(wanted),
        )
        with translated():
            async with self._sessions.begin() as session:
                # Held, so that a canary that ends forgets what is put down here.
                found = await session.execute(running.with_for_update(read=True))
                known = {(row.tenant_id, row.canary_id) for row in found}
                counted = [each for each in answers if (each.tenant_id, each.canary_id) in known]
                rows = list(map(_answer_row, await _without_erased(session, counted)))
                if not rows:
                    return 0
                statement = upsert(ANSWERS).values(rows).on_conflict_do_nothing()
                return len((await session.execute(statement.returning(ANSWERS.c.interaction_id))).all())

    async def note_ratings(self, ratings: Sequence[CountedRating]) -> int:
        """Keep the ratings of tenants with canaries that run, each with its last opinion; return how many."""
        tenants = any_(literal(sorted({each.tenant_id for each in ratings}), ARRAY(String)))
        running = select(CANARIES.c.tenant_id).where(
            CANARIES.c.state == CanaryState.RUNNING.value, CANARIES.c.tenant_id == tenants
        )
        with translated():
            async with self._sessions.begin() as session:
                known = set(await session.scalars(running.with_for_update(read=True)))
                counted = [each for each in _last_opinions(ratings) if each.tenant_id in known]
                rows = list(map(_rating_row, await _without_erased(session, counted)))
                if not rows:
                    return 0
                statement = upsert(RATINGS).values(rows)
                changed = {name: statement.excluded[name] for name in ("up", "rated_at")}
                newer = statement.on_conflict_do_update(
                    index_elements=["tenant_id", "rating_id"],
                    set_=changed,
                    where=RATINGS.c.rated_at <= statement.excluded.rated_at,
                )
                await session.execute(newer)
                return len(rows)

    async def look(self, tenant_id: str, canary: Canary, now: datetime) -> Look:
        """Return what is known of a canary that runs, and what the rule says."""
        with translated():
            async with self._sessions() as session:
                arms = await counts(session, tenant_id, canary.canary_id, canary.rule)
        # It computes for a while, and others wait for the loop.
        return await asyncio.to_thread(look_at, canary.rule, arms, canary.started_at, now)

    async def keep(self, tenant_id: str, canary: Canary, look: Look) -> None:
        """Put down that a canary goes on, where that was not done a while ago, or nothing has changed since."""
        last = await self.decisions(tenant_id, canary.canary_id, 1)
        if last and (look.at - last[0].at < TOLD_EVERY or last[0].arms == look.arms):
            return
        with translated():
            async with self._sessions.begin() as session:
                await keep_decision(session, tenant_id, canary.canary_id, look)

    async def decisions(self, tenant_id: str, canary_id: str, limit: int = SHOWN_DECISIONS) -> list[Look]:
        """Return what the rule said of a canary, newest first."""
        query = select(DECISIONS.c.look).where(DECISIONS.c.tenant_id == tenant_id, DECISIONS.c.canary_id == canary_id)
        with translated():
            async with self._sessions() as session:
                return [
                    look_of(each) for each in await session.scalars(query.order_by(DECISIONS.c.at.desc()).limit(limit))
                ]

    async def last(self, tenant_id: str, alias: str) -> tuple[Canary, Look | None] | None:
        """Return the canary of an alias that ended last, with what was known of it then."""
        query = select(CANARIES).where(
            CANARIES.c.tenant_id == tenant_id, CANARIES.c.alias == alias, CANARIES.c.ended_at.is_not(None)
        )
        with translated():
            async with self._sessions() as session:
                row = (await session.execute(query.order_by(CANARIES.c.ended_at.desc()).limit(1))).one_or_none()
        return (canary_of(row), look_of(row.look) if row.look else None) if row else None

    async def running(self) -> list[tuple[str, Canary]]:
        """Return the canaries that run, each with its tenant."""
        query = select(CANARIES).where(CANARIES.c.state == CanaryState.RUNNING.value)
        with translated():
            async with self._sessions() as session:
                return [(row.tenant_id, canary_of(row)) for row in await session.execute(query)]

    async def states(self) -> dict[str, int]:
        """Return how many canaries of all tenants are in each state."""
        query = select(CANARIES.c.state, func.count().label("number")).group_by(CANARIES.c.state)
        with translated():
            async with self._sessions() as session:
                return {row.state: row.number for row in await session.execute(query)}

    @contextlib.asynccontextmanager
    async def deciding(self) -> AsyncIterator[bool]:
        """Tell whether this replica decides, as long as this lasts: of several one does."""
        with translated():
            async with self._sessions.begin() as session:
                yield bool(await session.scalar(_DECIDING))


async def _without_erased(session: AsyncSession, told: Sequence[Told]) -> list[Told]:
    """Return what is not of people who were erased after it."""
    wanted = {(each.tenant_id, each.person) for each in told}
    query = select(ERASED).where(tuple_(ERASED.c.tenant_id, ERASED.c.person).in_(wanted))
    erased = {(row.tenant_id, row.person): row.erased_at for row in await session.execute(query)}
    return [each for each in told if each.at > erased.get((each.tenant_id, each.person), _EVER)]


def _answer_row(answer: CountedAnswer) -> dict[str, object]:
    return {column.name: getattr(answer, column.name) for column in ANSWERS.c}


def _rating_row(rating: CountedRating) -> dict[str, object]:
    own = {column.name: getattr(rating, column.name) for column in RATINGS.c if hasattr(rating, column.name)}
    return own | {"first_at": rating.rated_at}


def _last_opinions(ratings: Sequence[CountedRating]) -> list[CountedRating]:
    """Return of each rating what was thought last: one statement changes a row once."""
    last: dict[tuple[str, str], CountedRating] = {}
    for each in sorted(ratings, key=lambda one: one.rated_at):
        last[each.tenant_id, each.rating_id] = each
    return list(last.values())
