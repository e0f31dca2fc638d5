"""What runs and rerankers keep of people, or of a whole tenant, removed from PostgreSQL."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ARRAY, String, any_, bindparam, delete, literal, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from services.common.database import Sessions
from services.common.identity import Identity
from services.common.rerankers import Rerankers
from services.tune.adapters.adapter_erasure import Withdrawal
from services.tune.adapters.dataset_erasure import erase_all_datasets, erase_datasets
from services.tune.adapters.evaluation_erasure import erase_sets
from services.tune.adapters.gate_rules import erase_rules
from services.tune.adapters.run_tables import RUNS, failure
from services.tune.adapters.tables import PROMOTIONS, RERANKERS, translated
from services.tune.datasets.store import Datasets
from services.tune.domain.errors import DataErased
from services.tune.domain.runs import Origin, RunState

# Of who was erased only the number stays with what was learnt from them.
_FORGET = text(
    """
    UPDATE tune.rerankers SET
      erased_people = erased_people + cardinality(people) - cardinality(left_over.names),
      people = left_over.names
    FROM (
      SELECT digest AS learnt, ARRAY(SELECT name FROM unnest(people) AS name WHERE name <> ALL(:names)) AS names
      FROM tune.rerankers WHERE tenant_id = :tenant AND people && :names
    ) AS left_over
    WHERE tenant_id = :tenant AND digest = left_over.learnt
    RETURNING digest
    """
).bindparams(bindparam("names", type_=ARRAY(String)))

_ERASED = DataErased("somebody was erased while the run learnt from ratings or a data set")
_LEARNING = (Origin.RATINGS.value, Origin.DATASET.value)


class PostgresErasure:
    """Removes what one tenant has of people. Raises StoreUnavailable when the database cannot be reached."""

    def __init__(self, sessions: Sessions, rerankers: Rerankers, datasets: Datasets, adapters: Withdrawal) -> None:
        self._sessions = sessions
        self._rerankers = rerankers
        self._datasets = datasets
        self._adapters = adapters

    async def erase(
        self, identity: Identity, subjects: Sequence[str] | None, now: datetime
    ) -> tuple[dict[str, int], tuple[str, ...]]:
        """Remove the runs of these subjects, and their names everywhere else; None is everything of the tenant.

        Returns how many of each kind were removed, and the rerankers and adapters that learnt from these people.
        """
        with translated():
            if subjects is None:
                return await self._erase_tenant(identity.tenant_id, now), ()
            async with self._sessions.begin() as session:
                counts, stale = await _erase_people(session, identity.tenant_id, subjects, now)
                held, emptied = await erase_datasets(session, self._datasets, identity.tenant_id, subjects, now)
                more, learnt = await self._adapters.of_people(session, identity.tenant_id, subjects, now)
        removed = counts | {kind: count for kind, count in (*held.items(), *more.items()) if count}
        return removed, (*stale, *emptied, *learnt)

    async def _erase_tenant(self, tenant_id: str, now: datetime) -> dict[str, int]:
        async with self._sessions.begin() as session:
            # A run that works finds that it is gone, and keeps nothing.
            runs = await _removed(session, RUNS, RUNS.c.run_id, tenant_id)
            digests = await _removed(session, RERANKERS, RERANKERS.c.digest, tenant_id)
            promotions = await _removed(session, PROMOTIONS, PROMOTIONS.c.promotion_id, tenant_id)
            kept = await erase_sets(session, tenant_id, None) | await erase_rules(session, tenant_id, None)
            kept |= await erase_all_datasets(session, self._datasets, tenant_id)
            kept |= await self._adapters.of_tenant(session, tenant_id, now)
            for digest in digests:
                await self._rerankers.remove(digest)
        counts = kept | {"runs": len(runs), "rerankers": len(digests), "promotions": len(promotions)}
        return {kind: count for kind, count in counts.items() if count}


async def _removed(session: AsyncSession, table: Any, key: Any, tenant_id: str) -> list[str]:
    return list(await session.scalars(delete(table).where(table.c.tenant_id == tenant_id).returning(key)))


async def _erase_people(
    session: AsyncSession, tenant_id: str, subjects: Sequence[str], now: datetime
) -> tuple[dict[str, int], tuple[str, ...]]:
    names = any_(literal(list(subjects), ARRAY(String)))
    theirs = delete(RUNS).where(RUNS.c.tenant_id == tenant_id, RUNS.c.subject == names)
    runs = list(await session.scalars(theirs.returning(RUNS.c.run_id)))
    # What has read ratings or a data set already may have read theirs.
    reading = update(RUNS).where(
        RUNS.c.tenant_id == tenant_id, RUNS.c.state == RunState.RUNNING.value, RUNS.c.origin.in_(_LEARNING)
    )
    ended = list(await session.scalars(reading.values(**failure(_ERASED, now)).returning(RUNS.c.run_id)))
    stale = list(await session.scalars(_FORGET, {"tenant": tenant_id, "names": list(subjects)}))
    promoted = update(PROMOTIONS).where(PROMOTIONS.c.tenant_id == tenant_id, PROMOTIONS.c.subject == names)
    nameless = list(await session.scalars(promoted.values(subject="").returning(PROMOTIONS.c.promotion_id)))
    kept = await erase_sets(session, tenant_id, subjects) | await erase_rules(session, tenant_id, subjects)
    counts = kept | {
        "runs": len(runs) + len(ended),
        "names in rerankers": len(stale),
        "names in promotions": len(nameless),
    }
    return {kind: count for kind, count in counts.items() if count}, tuple(f"reranker {each}" for each in stale)
