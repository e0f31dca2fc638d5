"""Evaluations of kept sets in PostgreSQL: queued, taken by one process at a time, and kept."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, delete, func, or_, select, tuple_, update
from sqlalchemy.dialects.postgresql import distinct_on, insert
from sqlalchemy.ext.asyncio import AsyncSession

from services.common.database import Sessions
from services.common.evaluation.bootstrap import Estimate
from services.common.identity import Identity
from services.tune.adapters.evaluation_tables import (
    EVALUATIONS,
    KEPT,
    SETS,
    SHOWN,
    evaluation_of,
    figures_row,
    identity_of,
    queued_row,
    set_of,
    work_of,
)
from services.tune.adapters.tables import newest_first, translated
from services.tune.domain.evaluations import (
    COMPARED,
    KEPT_EVALUATIONS,
    Claimed,
    Evaluation,
    EvaluationNotFound,
    EvaluationState,
    Scores,
    SetNotFound,
)
from services.tune.domain.runs import Position

LEASE = timedelta(seconds=60)
MAX_ATTEMPTS = 3
LOST = "EVALUATION_LOST"
_UNFINISHED = (EvaluationState.QUEUED.value, EvaluationState.RUNNING.value)
_ROW = EVALUATIONS.c


class PostgresEvaluations:
    """The evaluations of all tenants. All methods raise StoreUnavailable when the database cannot be reached."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def queue(self, identity: Identity, name: str, evaluation_id: str, now: datetime) -> Evaluation:
        """Queue an evaluation of a set, or return the one that has not ended.

        Raises:
            SetNotFound: the tenant has no set of this name.
        """
        own = (SETS.c.tenant_id == identity.tenant_id, SETS.c.name == name)
        with translated():
            async with self._sessions.begin() as session:
                found = (await session.execute(select(*KEPT).where(*own).with_for_update())).one_or_none()
                if found is None:
                    raise SetNotFound("there is no set of this name")
                row = queued_row(identity.tenant_id, evaluation_id, set_of(found), work_of(identity), now)
                await session.execute(_queued(row))
                query = select(*SHOWN).where(*_of_set(identity, name), _ROW.state.in_(_UNFINISHED))
                return evaluation_of((await session.execute(query)).one())

    async def queue_due(self, new_id: Callable[[], str], now: datetime) -> int:
        """Queue what the schedules ask for, end those whose time is up, and return how many were queued."""
        due = select(*SETS.c).where(SETS.c.next_at <= now).with_for_update(skip_locked=True)
        queued = 0
        with translated():
            async with self._sessions.begin() as session:
                for row in (await session.execute(due)).all():
                    if row.ends_at > now:
                        waiting = queued_row(row.tenant_id, new_id(), set_of(row), row.schedule, now)
                        await session.execute(_queued(waiting | {"scheduled": True}))
                        queued += 1
                    await session.execute(_postponed(row, now))
        return queued

    async def claim(self, now: datetime) -> Claimed | None:
        """Take an evaluation that nobody works on; the tenant that waited longest is served first.

        What was taken too often, by processes that died, is failed.
        """
        free = or_(
            _ROW.state == EvaluationState.QUEUED.value,
            and_(_ROW.state == EvaluationState.RUNNING.value, _ROW.leased_until < now),
        )
        with translated():
            async with self._sessions.begin() as session:
                lost = update(EVALUATIONS).where(free, _ROW.attempts >= MAX_ATTEMPTS)
                await session.execute(lost.values(**_ended(EvaluationState.FAILED, now), failure=LOST))
                key = (await session.execute(_next(free))).one_or_none()
                return await _taken(session, key, now) if key else None

    async def beat(self, evaluation: Evaluation, searched: int, now: datetime) -> bool:
        """Say how far an evaluation is, and return whether it still goes on."""
        values = {"searched": searched, "leased_until": now + LEASE}
        return await self._change(evaluation, values)

    async def finish(
        self, evaluation: Evaluation, scores: Scores, figures: Mapping[str, Estimate], fall: float, now: datetime
    ) -> bool:
        """Keep what an evaluation measured, and return whether it still went on."""
        measured = {"scores": scores, "figures": figures_row(figures), "fall": fall, "searched": evaluation.questions}
        return await self._change(evaluation, _ended(EvaluationState.DONE, now) | measured)

    async def fail(self, evaluation: Evaluation, reason: str, now: datetime) -> None:
        """Keep why an evaluation has no figures."""
        await self._change(evaluation, _ended(EvaluationState.FAILED, now) | {"failure": reason})

    async def earlier(self, evaluation: Evaluation) -> list[Scores]:
        """Return what was measured on the same questions before, newest first."""
        query = (
            select(_ROW.scores)
            .where(
                _ROW.tenant_id == evaluation.tenant_id,
                _ROW.set_name == evaluation.set_name,
                _ROW.set_digest == evaluation.set_digest,
                _ROW.state == EvaluationState.DONE.value,
            )
            .order_by(_ROW.created_at.desc())
            .limit(COMPARED)
        )
        with translated():
            async with self._sessions() as session:
                return list(await session.scalars(query))

    async def find(self, identity: Identity, evaluation_id: str) -> Evaluation:
        """Return an evaluation of the tenant.

        Raises:
            EvaluationNotFound: it has none of this id.
        """
        query = select(*SHOWN).where(*_is(identity.tenant_id, evaluation_id))
        with translated():
            async with self._sessions() as session:
                row = (await session.execute(query)).one_or_none()
        if row is None:
            raise EvaluationNotFound("there is no such evaluation")
        return evaluation_of(row)

    async def cancel(self, identity: Identity, evaluation_id: str, now: datetime) -> Evaluation:
        """End an evaluation that has not ended, and return it as it is then.

        Raises:
            EvaluationNotFound: the tenant has none of this id.
        """
        going = (*_is(identity.tenant_id, evaluation_id), _ROW.state.in_(_UNFINISHED))
        with translated():
            async with self._sessions.begin() as session:
                await session.execute(update(EVALUATIONS).where(*going).values(_ended(EvaluationState.CANCELLED, now)))
        return await self.find(identity, evaluation_id)

    async def page(self, identity: Identity, name: str, after: Position | None, limit: int) -> list[Evaluation]:
        """Return at most `limit` evaluations of a set that come after a position, newest first."""
        query = newest_first(
            select(*SHOWN).where(*_of_set(identity, name)), (_ROW.created_at, _ROW.evaluation_id), after
        )
        with translated():
            async with self._sessions() as session:
                return [evaluation_of(row) for row in await session.execute(query.limit(limit))]

    async def newest_scheduled(self) -> list[Evaluation]:
        """Return the newest figures of each set of every tenant that has a schedule."""
        scheduled = select(SETS.c.tenant_id, SETS.c.name).where(SETS.c.next_at.is_not(None))
        query = (
            select(*SHOWN)
            .ext(distinct_on(_ROW.tenant_id, _ROW.set_name))
            .where(
                tuple_(_ROW.tenant_id, _ROW.set_name).in_(scheduled),
                _ROW.state == EvaluationState.DONE.value,
            )
            .order_by(_ROW.tenant_id, _ROW.set_name, _ROW.created_at.desc())
        )
        with translated():
            async with self._sessions() as session:
                return [evaluation_of(row) for row in await session.execute(query)]

    async def _change(self, evaluation: Evaluation, values: Mapping[str, Any]) -> bool:
        going = (*_is(evaluation.tenant_id, evaluation.evaluation_id), _ROW.state == EvaluationState.RUNNING.value)
        with translated():
            async with self._sessions.begin() as session:
                changed = update(EVALUATIONS).where(*going).values(**values).returning(_ROW.evaluation_id)
                return (await session.execute(changed)).one_or_none() is not None


async def _taken(session: AsyncSession, key: Row[Any], now: datetime) -> Claimed | None:
    """Return a locked evaluation as this process's own, with the questions as they are now."""
    own = (SETS.c.tenant_id == key.tenant_id, SETS.c.name == key.set_name)
    kept = (await session.execute(select(SETS.c.content, SETS.c.digest, SETS.c.questions).where(*own))).one()
    values = {
        "state": EvaluationState.RUNNING.value,
        "set_digest": kept.digest,
        "questions": kept.questions,
        "searched": 0,
        "attempts": _ROW.attempts + 1,
        "leased_until": now + LEASE,
        "started_at": now,
    }
    taken = update(EVALUATIONS).where(*_is(key.tenant_id, key.evaluation_id)).values(**values).returning(*SHOWN)
    row = (await session.execute(taken)).one()
    await _forget_oldest(session, key)
    return Claimed(evaluation_of(row), identity_of(key.tenant_id, key.work), bytes(kept.content))


async def _forget_oldest(session: AsyncSession, key: Row[Any]) -> None:
    """Remove a set's evaluations beyond those that are kept."""
    own = (_ROW.tenant_id == key.tenant_id, _ROW.set_name == key.set_name)
    old = select(_ROW.evaluation_id).where(*own).order_by(_ROW.created_at.desc()).offset(KEPT_EVALUATIONS)
    await session.execute(delete(EVALUATIONS).where(*own, _ROW.evaluation_id.in_(old)))


def _next(free: ColumnElement[bool]) -> Any:
    other = EVALUATIONS.alias()
    served = select(func.max(other.c.started_at)).where(other.c.tenant_id == _ROW.tenant_id).scalar_subquery()
    return (
        select(_ROW.tenant_id, _ROW.evaluation_id, _ROW.set_name, _ROW.work)
        .where(free)
        .order_by(served.asc().nulls_first(), _ROW.created_at)
        .limit(1)
        .with_for_update(skip_locked=True)
    )


def _queued(row: Mapping[str, Any]) -> Any:
    return insert(EVALUATIONS).values(**row).on_conflict_do_nothing()


def _postponed(row: Row[Any], now: datetime) -> Any:
    """Return what has a set wait for its next time; times that were missed are not made up for."""
    values: dict[str, Any] = {"next_at": now + timedelta(hours=row.every_hours)}
    if row.ends_at <= now:
        values = {"every_hours": 0, "next_at": None, "ends_at": None, "scheduled_by": "", "schedule": None}
    return update(SETS).where(SETS.c.tenant_id == row.tenant_id, SETS.c.name == row.name).values(**values)


def _ended(state: EvaluationState, now: datetime) -> dict[str, Any]:
    return {"state": state.value, "ended_at": now, "work": None, "leased_until": None}


def _is(tenant_id: str, evaluation_id: str) -> tuple[Any, Any]:
    return _ROW.tenant_id == tenant_id, _ROW.evaluation_id == evaluation_id


def _of_set(identity: Identity, name: str) -> tuple[Any, Any]:
    return _ROW.tenant_id == identity.tenant_id, _ROW.set_name == name
