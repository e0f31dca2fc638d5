"""Builds and data sets of people, or of a whole tenant, removed from PostgreSQL and from their store."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ARRAY, String, any_, bindparam, delete, literal, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from services.tune.adapters.dataset_tables import BUILDS, DATASETS
from services.tune.adapters.tables import failure
from services.tune.datasets.parameters import Origin
from services.tune.datasets.store import Datasets
from services.tune.domain.errors import DataErased
from services.tune.domain.runs import RunState

# Rows hold what people asked: they go with whoever is behind one of them, and only numbers are left.
_FORGET = text(
    """
    UPDATE tune.datasets SET
      erased = true,
      erased_people = erased_people + cardinality(people) - cardinality(left_over.names),
      people = left_over.names
    FROM (
      SELECT digest AS held, ARRAY(SELECT name FROM unnest(people) AS name WHERE name <> ALL(:names)) AS names
      FROM tune.datasets WHERE tenant_id = :tenant AND people && :names
    ) AS left_over
    WHERE tenant_id = :tenant AND digest = left_over.held
    RETURNING digest
    """
).bindparams(bindparam("names", type_=ARRAY(String)))
_ERASED = DataErased("somebody was erased while the data set was built from ratings")


async def erase_datasets(
    session: AsyncSession, store: Datasets, tenant_id: str, subjects: Sequence[str], now: datetime
) -> tuple[dict[str, int], tuple[str, ...]]:
    """Remove the builds of these subjects, and the rows of every data set that holds something of them.

    Returns how many of each kind were removed, and the data sets.
    """
    names = any_(literal(list(subjects), ARRAY(String)))
    theirs = delete(BUILDS).where(BUILDS.c.tenant_id == tenant_id, BUILDS.c.subject == names)
    builds = list(await session.scalars(theirs.returning(BUILDS.c.build_id)))
    # What has read ratings already may have read theirs.
    reading = update(BUILDS).where(
        BUILDS.c.tenant_id == tenant_id,
        BUILDS.c.state == RunState.RUNNING.value,
        BUILDS.c.origins.contains([Origin.RATINGS.value]),
    )
    ended = list(await session.scalars(reading.values(**failure(_ERASED, now)).returning(BUILDS.c.build_id)))
    emptied = list(await session.scalars(_FORGET, {"tenant": tenant_id, "names": list(subjects)}))
    started = update(DATASETS).where(DATASETS.c.tenant_id == tenant_id, DATASETS.c.subject == names)
    nameless = list(await session.scalars(started.values(subject="").returning(DATASETS.c.digest)))
    for digest in emptied:
        await store.remove(tenant_id, digest)
    for build_id in builds:
        await store.remove_upload(tenant_id, build_id)
    counts = {
        "data set builds": len(builds) + len(ended),
        "data sets with rows of them": len(emptied),
        "names on data sets": len(nameless),
    }
    return counts, tuple(f"data set {each}" for each in emptied)


async def erase_all_datasets(session: AsyncSession, store: Datasets, tenant_id: str) -> dict[str, int]:
    """Remove everything of a tenant; return how many of each kind were removed."""
    builds = delete(BUILDS).where(BUILDS.c.tenant_id == tenant_id).returning(BUILDS.c.build_id)
    datasets = delete(DATASETS).where(DATASETS.c.tenant_id == tenant_id).returning(DATASETS.c.digest)
    counts = {
        "data set builds": len(list(await session.scalars(builds))),
        "data sets": len(list(await session.scalars(datasets))),
    }
    await store.remove_all(tenant_id)
    return counts
