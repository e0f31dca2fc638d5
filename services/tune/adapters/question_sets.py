"""Sets of questions and their schedules in PostgreSQL."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, func, select, text, update
from sqlalchemy.dialects.postgresql import insert

from services.common.database import Sessions
from services.common.identity import Identity
from services.tune.adapters.evaluation_tables import EVALUATIONS, KEPT, SETS, set_of, work_of
from services.tune.adapters.tables import translated
from services.tune.domain.evaluations import MAX_SETS, SCHEDULE, KeptSet, SetNotFound, TooManySets, digest_of

_PUT_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended('tune.sets/' || :tenant, 0))")


class PostgresSets:
    """The sets of one tenant at a time. All methods raise StoreUnavailable when the database cannot be reached."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def put(self, identity: Identity, name: str, content: bytes, questions: int, now: datetime) -> KeptSet:
        """Keep a set, or replace its questions; the same questions change nothing.

        Raises:
            TooManySets: it is new, and the tenant has as many as it may.
        """
        own = {"tenant_id": identity.tenant_id, "name": name}
        new = {
            "content": content,
            "questions": questions,
            "digest": digest_of(identity.tenant_id, content),
            "subject": identity.subject,
            "put_at": now,
        }
        statement = insert(SETS).values(**own, **new, every_hours=0, scheduled_by="")
        statement = statement.on_conflict_do_update(
            index_elements=list(own), set_=new, where=SETS.c.digest != new["digest"]
        )
        with translated():
            async with self._sessions.begin() as session:
                await session.execute(_PUT_LOCK, {"tenant": identity.tenant_id})
                others = select(func.count()).where(SETS.c.tenant_id == identity.tenant_id, SETS.c.name != name)
                if (await session.scalar(others) or 0) >= MAX_SETS:
                    raise TooManySets(f"a tenant keeps {MAX_SETS} sets at most")
                await session.execute(statement)
                return set_of((await session.execute(select(*KEPT).where(*_is(identity, name)))).one())

    async def find(self, identity: Identity, name: str) -> tuple[KeptSet, bytes]:
        """Return a set with its questions.

        Raises:
            SetNotFound: the tenant has none of this name.
        """
        with translated():
            async with self._sessions() as session:
                query = select(*KEPT, SETS.c.content).where(*_is(identity, name))
                row = _found((await session.execute(query)).one_or_none())
                return set_of(row), bytes(row.content)

    async def page(self, identity: Identity, after: str, limit: int) -> list[KeptSet]:
        """Return at most `limit` sets by name, from after a name on."""
        query = select(*KEPT).where(SETS.c.tenant_id == identity.tenant_id, SETS.c.name > after)
        with translated():
            async with self._sessions() as session:
                return [set_of(row) for row in await session.execute(query.order_by(SETS.c.name).limit(limit))]

    async def delete(self, identity: Identity, name: str) -> None:
        """Remove a set and its evaluations.

        Raises:
            SetNotFound: the tenant has none of this name.
        """
        measured = (EVALUATIONS.c.tenant_id == identity.tenant_id, EVALUATIONS.c.set_name == name)
        with translated():
            async with self._sessions.begin() as session:
                gone = delete(SETS).where(*_is(identity, name)).returning(SETS.c.name)
                _found((await session.execute(gone)).one_or_none())
                await session.execute(delete(EVALUATIONS).where(*measured))

    async def schedule(self, identity: Identity, name: str, every_hours: int, now: datetime) -> KeptSet:
        """Have a set evaluated as this caller, from now on; 0 ends its schedule.

        Raises:
            SetNotFound: the tenant has none of this name.
        """
        changed = update(SETS).where(*_is(identity, name)).values(**_schedule(identity, every_hours, now))
        with translated():
            async with self._sessions.begin() as session:
                return set_of(_found((await session.execute(changed.returning(*KEPT))).one_or_none()))


def _schedule(identity: Identity, every_hours: int, now: datetime) -> dict[str, Any]:
    if not every_hours:
        return {"every_hours": 0, "next_at": None, "ends_at": None, "scheduled_by": "", "schedule": None}
    return {
        "every_hours": every_hours,
        "next_at": now + timedelta(hours=every_hours),
        "ends_at": now + SCHEDULE,
        "scheduled_by": identity.subject,
        "schedule": work_of(identity),
    }


def _is(identity: Identity, name: str) -> tuple[Any, Any]:
    return SETS.c.tenant_id == identity.tenant_id, SETS.c.name == name


def _found(row: Any) -> Any:
    if row is None:
        raise SetNotFound("there is no set of this name")
    return row
