"""Adapters, aliases and canaries of people, or of a whole tenant, removed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import ARRAY, String, any_, bindparam, delete, literal, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncSession

from services.common.lora.store import AdapterStore
from services.common.outbox import Outbox
from services.tune.adapters.alias_rows import aliases, read
from services.tune.adapters.aliases import next_revision, put_alias
from services.tune.adapters.registry_tables import (
    ADAPTERS,
    ALIASES,
    ANSWERS,
    CANARIES,
    DECISIONS,
    ERASED,
    MOVES,
    RATINGS,
    REPLICAS,
    TENANT_LOCK,
)
from services.tune.domain.canaries import person_of
from services.tune.domain.registry import Alias, Target

# Of who was erased only the number stays with what was learnt from them.
_FORGET = text(
    """
    UPDATE tune.adapters SET
      erased_people = erased_people + cardinality(people) - cardinality(left_over.names),
      people = left_over.names
    FROM (
      SELECT digest AS learnt, ARRAY(SELECT name FROM unnest(people) AS name WHERE name <> ALL(:names)) AS names
      FROM tune.adapters WHERE tenant_id = :tenant AND people && :names
    ) AS left_over
    WHERE tenant_id = :tenant AND digest = left_over.learnt
    RETURNING digest
    """
).bindparams(bindparam("names", type_=ARRAY(String)))


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """Takes adapters and what points at them away. Every method works in the caller's transaction."""

    store: AdapterStore
    outbox: Outbox

    async def of_tenant(self, session: AsyncSession, tenant_id: str, now: datetime) -> dict[str, int]:
        """Remove everything of a tenant, tell replicas that its aliases are gone, and return how much it was.

        The aliases' names stay for a week, as gone, for replicas that have not heard of it.

        Raises:
            AdapterMissing: the blob store cannot be reached.
        """
        await session.execute(TENANT_LOCK, {"tenant": tenant_id})
        counts = {"aliases": await self._take_away(session, tenant_id, now)}
        for kind, table in (("adapters", ADAPTERS), ("alias moves", MOVES), ("canaries", CANARIES)):
            counts[kind] = await _removed(session, table, tenant_id)
        for table in (DECISIONS, ANSWERS, RATINGS, REPLICAS, ERASED):
            await _removed(session, table, tenant_id)
        await self.store.remove_tenant(tenant_id)
        return counts

    async def of_people(
        self, session: AsyncSession, tenant_id: str, subjects: Sequence[str], now: datetime
    ) -> tuple[dict[str, int], tuple[str, ...]]:
        """Remove these people's names and ratings; return how many, and the adapters that learnt from them."""
        await session.execute(TENANT_LOCK, {"tenant": tenant_id})
        people = [person_of(tenant_id, subject) for subject in subjects]
        await _note(session, tenant_id, people, now)
        stale = list(await session.scalars(_FORGET, {"tenant": tenant_id, "names": list(subjects)}))
        counts = {
            "names in adapters": len(stale),
            "canary ratings": await _forget_counted(session, tenant_id, people),
            "names in aliases": await self._rename(session, tenant_id, set(subjects), now),
        }
        for kind, table, names in (
            ("owners of adapters", ADAPTERS, ("owner",)),
            ("names in canaries", CANARIES, ("subject",)),
            ("names in alias moves", MOVES, ("subject", "owner", "previous_owner")),
        ):
            counts[kind] = sum([await _blank(session, table, tenant_id, name, subjects) for name in names])
        return counts, tuple(f"adapter {digest}" for digest in stale)

    async def _take_away(self, session: AsyncSession, tenant_id: str, now: datetime) -> int:
        found = await read(session, aliases(tenant_id))
        for alias in found:
            gone = replace(alias, live=Target(), subject="", canary=None, deleted=True)
            await self._put(session, gone, now)
        # Those that were gone already have no name in them any more either.
        own = ALIASES.c.tenant_id == tenant_id
        await session.execute(update(ALIASES).where(own).values(subject="", owner=""))
        return len(found)

    async def _rename(self, session: AsyncSession, tenant_id: str, subjects: set[str], now: datetime) -> int:
        """Take these people's names out of the aliases, and tell replicas so: it is no longer theirs to be answered."""
        found = [
            alias
            for alias in await read(session, aliases(tenant_id))
            if subjects & {alias.subject, alias.live.owner, alias.canary.subject if alias.canary else ""}
        ]
        for alias in found:
            live = replace(alias.live, owner=_kept(alias.live.owner, subjects))
            canary = alias.canary and replace(alias.canary, subject=_kept(alias.canary.subject, subjects))
            renamed = replace(alias, live=live, canary=canary, subject=_kept(alias.subject, subjects))
            await self._put(session, renamed, now)
        return len(found)

    async def _put(self, session: AsyncSession, alias: Alias, now: datetime) -> None:
        await put_alias(session, self.outbox, replace(alias, revision=await next_revision(session), changed_at=now))


def _kept(name: str, erased: set[str]) -> str:
    return "" if name in erased else name


def _any_of(names: Sequence[str]) -> Any:
    return any_(literal(list(names), ARRAY(String)))


async def _removed(session: AsyncSession, table: Any, tenant_id: str) -> int:
    gone = delete(table).where(table.c.tenant_id == tenant_id).returning(literal(1))
    return len((await session.execute(gone)).all())


async def _blank(session: AsyncSession, table: Any, tenant_id: str, name: str, subjects: Sequence[str]) -> int:
    """Empty a column where it names these people, and return how often it did; what they said of it goes, too."""
    column = table.c[name]
    values = {name: ""} | ({"reason": ""} if name == "subject" and "reason" in table.c else {})
    changed = update(table).where(table.c.tenant_id == tenant_id, column == _any_of(subjects)).values(**values)
    return len((await session.execute(changed.returning(literal(1)))).all())


async def _note(session: AsyncSession, tenant_id: str, people: Sequence[str], now: datetime) -> None:
    rows = [{"tenant_id": tenant_id, "person": person, "erased_at": now} for person in sorted(set(people))]
    statement = upsert(ERASED)
    latest = statement.on_conflict_do_update(
        index_elements=["tenant_id", "person"], set_={"erased_at": statement.excluded.erased_at}
    )
    await session.execute(latest, rows)


async def _forget_counted(session: AsyncSession, tenant_id: str, people: Sequence[str]) -> int:
    """Forget the answers to these people, the ratings of those, and the ratings by these people."""
    own = (ANSWERS.c.tenant_id == tenant_id) & (ANSWERS.c.person == _any_of(people))
    answers = list(await session.scalars(select(ANSWERS.c.interaction_id).where(own)))
    theirs = or_(RATINGS.c.person == _any_of(people), RATINGS.c.interaction_id == _any_of(answers))
    gone = delete(RATINGS).where(RATINGS.c.tenant_id == tenant_id, theirs).returning(literal(1))
    ratings = len((await session.execute(gone)).all())
    await session.execute(delete(ANSWERS).where(own))
    return ratings + len(answers)
