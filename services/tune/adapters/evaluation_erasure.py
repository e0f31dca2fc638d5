"""Sets, schedules and evaluations of people, or of a whole tenant, removed from PostgreSQL."""

from collections.abc import Sequence

from sqlalchemy import ARRAY, String, any_, delete, literal, true, update
from sqlalchemy.ext.asyncio import AsyncSession

from services.tune.adapters.evaluation_tables import EVALUATIONS, SETS

_NO_SCHEDULE = {"every_hours": 0, "next_at": None, "ends_at": None, "scheduled_by": "", "schedule": None}


async def erase_sets(session: AsyncSession, tenant_id: str, subjects: Sequence[str] | None) -> dict[str, int]:
    """Remove the sets that these subjects put, their schedules and what was evaluated as them; None is everybody.

    Returns how many of each kind were removed.
    """
    theirs = None if subjects is None else any_(literal(list(subjects), ARRAY(String)))
    own = [true() if theirs is None else table.c.subject == theirs for table in (SETS, EVALUATIONS)]
    gone = delete(SETS).where(SETS.c.tenant_id == tenant_id, own[0]).returning(SETS.c.name)
    names = list(await session.scalars(gone))
    of_sets = EVALUATIONS.c.set_name == any_(literal(names, ARRAY(String)))
    measured = delete(EVALUATIONS).where(EVALUATIONS.c.tenant_id == tenant_id, own[1] | of_sets)
    evaluations = list(await session.scalars(measured.returning(EVALUATIONS.c.evaluation_id)))
    schedules: list[str] = []
    if theirs is not None:
        scheduled = update(SETS).where(SETS.c.tenant_id == tenant_id, SETS.c.scheduled_by == theirs)
        schedules = list(await session.scalars(scheduled.values(**_NO_SCHEDULE).returning(SETS.c.name)))
    return {"question sets": len(names), "evaluations": len(evaluations), "schedules": len(schedules)}
