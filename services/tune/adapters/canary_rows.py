"""What a canary's arms come to, counted in PostgreSQL, and what is left of it when it ends."""

import asyncio
from typing import Any

from sqlalchemy import Row, delete, func, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncSession

from services.tune.adapters.registry_tables import ANSWERS, CANARIES, DECISIONS, RATINGS, look_row
from services.tune.domain.canaries import Arm, Arms, Canary, CanaryState, Look, Rule, look_at

_ANSWERS = text(
    """
    SELECT is_canary,
      count(DISTINCT conversation_id) AS conversations,
      count(*) FILTER (WHERE NOT failed) AS answers,
      count(*) FILTER (WHERE failed) AS failures,
      count(*) FILTER (WHERE NOT failed AND total_ms > :late_ms) AS late,
      count(*) FILTER (WHERE unsupported) AS unsupported
    FROM tune.canary_answers WHERE tenant_id = :tenant AND canary_id = :canary GROUP BY is_canary
    """
)
# Of each rater the first so many count, so that what counted once is not undone by who rates on.
_RATINGS = text(
    """
    SELECT is_canary,
      count(*) FILTER (WHERE place <= :most AND up) AS ups,
      count(*) FILTER (WHERE place <= :most AND NOT up) AS downs,
      count(*) FILTER (WHERE place > :most) AS ignored_ratings,
      count(DISTINCT person) AS raters
    FROM (
      SELECT is_canary, ratings.person, up,
        row_number() OVER (PARTITION BY is_canary, ratings.person ORDER BY first_at, rating_id) AS place
      FROM tune.canary_ratings AS ratings JOIN tune.canary_answers AS answers USING (tenant_id, interaction_id)
      WHERE tenant_id = :tenant AND canary_id = :canary
    ) AS rated
    GROUP BY is_canary
    """
)


async def counts(session: AsyncSession, tenant_id: str, canary_id: str, rule: Rule) -> Arms:
    """Return what became of the conversations of both arms until now."""
    own = {"tenant": tenant_id, "canary": canary_id}
    answers = (await session.execute(_ANSWERS, own | {"late_ms": rule.late_ms})).all()
    ratings = (await session.execute(_RATINGS, own | {"most": rule.max_ratings_per_rater})).all()
    arms: dict[bool, dict[str, int]] = {True: {}, False: {}}
    for row in (*answers, *ratings):
        arms[row.is_canary] |= _numbers(row)
    return Arms(Arm(**arms[True]), Arm(**arms[False]))


def _numbers(row: Row[Any]) -> dict[str, int]:
    return {name: value for name, value in row._mapping.items() if name != "is_canary"}  # noqa: SLF001 - SQLAlchemy's public name for it


async def end(session: AsyncSession, tenant_id: str, canary: Canary, look: Look | None) -> None:
    """Put down how a canary has ended and what was known of it then, and forget what was counted one by one."""
    now = canary.ended_at or canary.started_at
    if look is None:
        arms = await counts(session, tenant_id, canary.canary_id, canary.rule)
        look = await asyncio.to_thread(look_at, canary.rule, arms, canary.started_at, now)
    own = (CANARIES.c.tenant_id == tenant_id) & (CANARIES.c.canary_id == canary.canary_id)
    ended = update(CANARIES).where(own).values(state=canary.state.value, ended_at=now, look=look_row(look))
    await session.execute(ended)
    await keep_decision(session, tenant_id, canary.canary_id, look)
    counted = (ANSWERS.c.tenant_id == tenant_id) & (ANSWERS.c.canary_id == canary.canary_id)
    await session.execute(delete(ANSWERS).where(counted))
    running = select(func.count()).where(
        CANARIES.c.tenant_id == tenant_id, CANARIES.c.state == CanaryState.RUNNING.value
    )
    if not await session.scalar(running):
        await session.execute(delete(RATINGS).where(RATINGS.c.tenant_id == tenant_id))


async def keep_decision(session: AsyncSession, tenant_id: str, canary_id: str, look: Look) -> None:
    """Put down what the rule said."""
    row = {"tenant_id": tenant_id, "canary_id": canary_id, "at": look.at, "look": look_row(look)}
    await session.execute(upsert(DECISIONS).values(row).on_conflict_do_nothing())
