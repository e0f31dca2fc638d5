"""The rows of `ingest.tenant_indexes` and `ingest.builds`, inside the caller's transaction."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnClause,
    ColumnElement,
    Integer,
    Row,
    Select,
    String,
    column,
    delete,
    exists,
    false,
    func,
    literal,
    or_,
    select,
    true,
    update,
    values,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from services.common.index_config import IndexConfig
from services.common.indexes import IndexState, Made
from services.ingest.adapters.tables import BUILDS, DOCUMENTS, TENANT_INDEXES
from services.ingest.domain import Beside, DocumentState, Indexed, Report
from services.ingest.indexes import Counts, Owned

COLUMNS = TENANT_INDEXES.c
REACHED = [IndexState.BUILDING, IndexState.READY, IndexState.KEPT]
# What an index has, or may have.
PRESENT = DOCUMENTS.c.state.in_([DocumentState.PENDING, DocumentState.INDEXED])

_SAID = ("reason", "chunk_count", "suspicious_chunk_count")
_TOLD: tuple[ColumnClause[Any], ...] = (
    column("document_id", String),
    column("tenant_id", String),
    column("version", BigInteger),
    column("key", String),
    column("reason", String),
    column("chunk_count", Integer),
    column("suspicious_chunk_count", Integer),
)


async def find(session: AsyncSession, tenant_id: str) -> Owned:
    """Return a tenant's indexes."""
    row = (await session.execute(_select().where(COLUMNS.tenant_id == tenant_id))).one_or_none()
    return _owned_of(row) if row else Owned(tenant_id)


async def lock(session: AsyncSession, tenant_id: str) -> Owned:
    """Return a tenant's indexes, and keep others from changing them meanwhile."""
    new = insert(TENANT_INDEXES).values(tenant_id=tenant_id, **_values(Owned(tenant_id)))
    await session.execute(new.on_conflict_do_nothing())
    row = (await session.execute(_select().where(COLUMNS.tenant_id == tenant_id).with_for_update())).one()
    return _owned_of(row)


async def unsettled(session: AsyncSession) -> list[str]:
    """Return the tenants whose indexes are being built or dropped."""
    query = select(COLUMNS.tenant_id).where(COLUMNS.state.in_([IndexState.BUILDING, IndexState.DROPPING]))
    return list((await session.execute(query)).scalars())


async def save(session: AsyncSession, owned: Owned) -> None:
    """Write a locked tenant's indexes, by the database's clock."""
    await session.execute(update(TENANT_INDEXES).where(COLUMNS.tenant_id == owned.tenant_id).values(_values(owned)))


async def forget_builds(session: AsyncSession, tenant_id: str) -> None:
    """Forget what the other index has: it is another one, or none, from now on."""
    await session.execute(delete(BUILDS).where(BUILDS.c.tenant_id == tenant_id))


async def list_documents(session: AsyncSession, tenant_id: str) -> None:
    """Note every document that the live index has, or may have, as to be built."""
    listed = select(DOCUMENTS.c.document_id, DOCUMENTS.c.tenant_id, false(), literal(""), literal(0), literal(0)).where(
        DOCUMENTS.c.tenant_id == tenant_id, PRESENT
    )
    names = ["document_id", "tenant_id", "done", *_SAID]
    await session.execute(insert(BUILDS).from_select(names, listed).on_conflict_do_nothing())
    await session.execute(update(TENANT_INDEXES).where(COLUMNS.tenant_id == tenant_id).values(listed=True))


async def next_to_send(session: AsyncSession, tenant_id: str, at_most: int, patience: timedelta) -> list[str]:
    """Return the next documents to send, so that `at_most` are on their way; see note_sent.

    What was sent `patience` ago without an answer is lost, and sent again.
    """
    mine = (BUILDS.c.tenant_id == tenant_id) & ~BUILDS.c.done & _is_present()
    lost = BUILDS.c.sent_at < func.clock_timestamp() - patience
    on_their_way = (await session.execute(select(func.count()).select_from(BUILDS).where(mine, ~lost))).scalar_one()
    waiting = select(BUILDS.c.document_id).where(mine, or_(BUILDS.c.sent_at.is_(None), lost))
    query = waiting.order_by(BUILDS.c.document_id).limit(max(at_most - on_their_way, 0))
    return list((await session.execute(query)).scalars())


async def note_sent(session: AsyncSession, document_ids: Sequence[str]) -> None:
    """Note that documents are on their way."""
    sent = update(BUILDS).where(BUILDS.c.document_id.in_(document_ids)).values(sent_at=func.clock_timestamp())
    await session.execute(sent)


async def hold(session: AsyncSession, reports: Sequence[Report]) -> None:
    """Keep others from changing the indexes that reports are about; before any lock on documents, as everywhere."""
    tenants = sorted({report.tenant_id for report in reports if report.beside})
    if tenants:
        held = select(COLUMNS.tenant_id).where(COLUMNS.tenant_id.in_(tenants)).order_by(COLUMNS.tenant_id)
        await session.execute(held.with_for_update(read=True))


async def note(session: AsyncSession, reports: Sequence[Report]) -> None:
    """Note what the tenants' other indexes say; what they say about a version before the newest is left."""
    # The newest of each document, and in one order, so that no two transactions wait for each other.
    told = {report.document_id: _noted(report, report.beside) for report in sorted(reports, key=_age) if report.beside}
    if not told:
        return
    rows = values(*_TOLD, name="told").data([told[key] for key in sorted(told)])
    found = (
        select(rows.c.document_id, rows.c.tenant_id, true(), *(rows.c[name] for name in _SAID))
        .join(DOCUMENTS, DOCUMENTS.c.document_id == rows.c.document_id)
        .join(TENANT_INDEXES, COLUMNS.tenant_id == rows.c.tenant_id)
        .where(
            DOCUMENTS.c.tenant_id == rows.c.tenant_id,
            DOCUMENTS.c.version == rows.c.version,
            COLUMNS.other_key == rows.c.key,
            COLUMNS.state.in_(REACHED),
        )
    )
    statement = insert(BUILDS).from_select(["document_id", "tenant_id", "done", *_SAID], found)
    new = {name: statement.excluded[name] for name in ("done", *_SAID)}
    await session.execute(statement.on_conflict_do_update(index_elements=[BUILDS.c.document_id], set_=new))


async def counts(session: AsyncSession, tenant_id: str) -> Counts:
    """Return how far the other index is."""
    mine = (BUILDS.c.tenant_id == tenant_id) & _is_present()
    query = select(func.count(), func.count().filter(BUILDS.c.done)).select_from(BUILDS).where(mine)
    documents, done = (await session.execute(query)).one()
    reasons = (
        select(BUILDS.c.reason, func.count())
        .where(mine, BUILDS.c.reason != "")
        .group_by(BUILDS.c.reason)
        .order_by(func.count().desc(), BUILDS.c.reason)
    )
    return Counts(documents, done, {row.reason: row[1] for row in await session.execute(reasons)})


async def failed_ids(session: AsyncSession, tenant_id: str) -> list[str]:
    """Return the documents that the other index cannot hold."""
    query = select(BUILDS.c.document_id).where(BUILDS.c.tenant_id == tenant_id, BUILDS.c.reason != "")
    return list((await session.execute(query.order_by(BUILDS.c.document_id))).scalars())


async def exchange_counts(session: AsyncSession, tenant_id: str) -> None:
    """Give the manifest the chunks of the index that becomes the live one, and the builds those of the other."""
    same = (
        (BUILDS.c.document_id == DOCUMENTS.c.document_id)
        & (BUILDS.c.tenant_id == tenant_id)
        & BUILDS.c.done
        & (BUILDS.c.reason == "")
        & (DOCUMENTS.c.state == DocumentState.INDEXED)
    )
    mine = select(literal(1)).where(DOCUMENTS.c.tenant_id == tenant_id, DOCUMENTS.c.state == DocumentState.INDEXED)
    # In one order, so that no two transactions wait for each other.
    locked = mine.order_by(DOCUMENTS.c.document_id).with_for_update().subquery()
    await session.execute(select(func.count()).select_from(locked))
    # Both read what was there before either wrote.
    kept = update(BUILDS).where(same).values(_counts_of(DOCUMENTS)).returning(BUILDS.c.document_id).cte("kept")
    await session.execute(update(DOCUMENTS).where(same).values(_counts_of(BUILDS)).add_cte(kept))
    await session.execute(update(BUILDS).where(BUILDS.c.tenant_id == tenant_id).values(reason=""))


def _counts_of(table: Any) -> dict[str, ColumnElement[int]]:
    return {name: table.c[name] for name in ("chunk_count", "suspicious_chunk_count")}


def _is_present() -> ColumnElement[bool]:
    return exists().where(DOCUMENTS.c.document_id == BUILDS.c.document_id, PRESENT)


def _age(report: Report) -> int:
    return report.version


def _noted(report: Report, beside: Beside) -> tuple[object, ...]:
    """Return the values of _TOLD."""
    answer = beside.answer
    said = ("", answer.chunk_count, answer.suspicious_count) if isinstance(answer, Indexed) else (answer.reason, 0, 0)
    return (report.document_id, report.tenant_id, report.version, beside.key, *said)


def _select() -> Select[Any]:
    seconds = func.extract("epoch", func.clock_timestamp() - COLUMNS.changed_at)
    return select(TENANT_INDEXES, seconds.label("seconds"))


def _values(owned: Owned) -> dict[str, object]:
    return {
        "live": owned.live.config.to_json() if owned.live else "",
        "live_key": owned.live.key if owned.live else "",
        "state": owned.state,
        "other": owned.other.config.to_json() if owned.other else "",
        "other_key": owned.other.key if owned.other else "",
        "listed": owned.listed,
        "builds": owned.builds,
        "changed_at": func.clock_timestamp(),
    }


def _owned_of(row: Row[Any]) -> Owned:
    return Owned(
        tenant_id=row.tenant_id,
        live=_made(row.live, row.live_key),
        state=IndexState(row.state),
        other=_made(row.other, row.other_key),
        listed=row.listed,
        builds=row.builds,
        seconds=float(row.seconds),
    )


def _made(config: str, key: str) -> Made | None:
    return Made(IndexConfig.from_json(config), key) if key else None
