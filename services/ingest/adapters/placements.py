"""The rows of `ingest.placements` and `ingest.copies`, inside the caller's transaction."""

from dataclasses import dataclass

from sqlalchemy import Row, Select, delete, exists, false, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from services.common.placements import MoveState
from services.common.settings import SHARED
from services.ingest.adapters.tables import COPIES, DOCUMENTS, PLACEMENTS
from services.ingest.domain import DocumentState

COLUMNS = PLACEMENTS.c


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a tenant is, how far its move has come, and since how many seconds it is there."""

    tenant_id: str
    place: str = SHARED
    state: MoveState = MoveState.SETTLED
    other_place: str = ""
    listed: bool = False
    seconds: float = 0.0


async def find(session: AsyncSession, tenant_id: str) -> Placed:
    """Return where a tenant is."""
    row = (await session.execute(_select().where(COLUMNS.tenant_id == tenant_id))).one_or_none()
    return _placed_of(row) if row else Placed(tenant_id)


async def lock(session: AsyncSession, tenant_id: str) -> Placed:
    """Return where a tenant is, and keep others from moving it meanwhile."""
    new = insert(PLACEMENTS).values(tenant_id=tenant_id, **_values(Placed(tenant_id)))
    await session.execute(new.on_conflict_do_nothing())
    row = (await session.execute(_select().where(COLUMNS.tenant_id == tenant_id).with_for_update())).one()
    return _placed_of(row)


async def moving(session: AsyncSession) -> list[str]:
    """Return the tenants whose moves are not done."""
    query = select(COLUMNS.tenant_id).where(COLUMNS.state != MoveState.SETTLED)
    return list((await session.execute(query)).scalars())


async def turn(session: AsyncSession, placed: Placed) -> None:
    """Write where a locked tenant is from now on, by the database's clock."""
    # What was copied is of one move.
    await session.execute(delete(COPIES).where(COPIES.c.tenant_id == placed.tenant_id))
    await session.execute(update(PLACEMENTS).where(COLUMNS.tenant_id == placed.tenant_id).values(_values(placed)))


async def list_documents(session: AsyncSession, tenant_id: str) -> None:
    """Note every document that the index has, or may have, as to be copied."""
    present = (DOCUMENTS.c.tenant_id == tenant_id) & DOCUMENTS.c.state.in_(
        [DocumentState.PENDING, DocumentState.INDEXED]
    )
    listed = select(DOCUMENTS.c.tenant_id, DOCUMENTS.c.document_id, false(), false()).where(present)
    await session.execute(insert(COPIES).from_select(["tenant_id", "document_id", "sent", "done"], listed))
    await session.execute(update(PLACEMENTS).where(COLUMNS.tenant_id == tenant_id).values(listed=True))


async def next_to_send(session: AsyncSession, tenant_id: str, at_most: int) -> list[str]:
    """Note as sent, and return, the next documents, so that `at_most` are on their way."""
    on_their_way = select(func.count()).where(COPIES.c.tenant_id == tenant_id, COPIES.c.sent, ~COPIES.c.done)
    room = at_most - (await session.execute(on_their_way)).scalar_one()
    waiting = select(COPIES.c.document_id).where(COPIES.c.tenant_id == tenant_id, ~COPIES.c.sent)
    query = waiting.order_by(COPIES.c.document_id).limit(max(room, 0))
    ids = list((await session.execute(query)).scalars())
    mine = (COPIES.c.tenant_id == tenant_id) & COPIES.c.document_id.in_(ids)
    await session.execute(update(COPIES).where(mine).values(sent=True))
    return ids


async def note_answered(session: AsyncSession, tenant_id: str) -> None:
    """Note as done what was sent and is answered, or is not there any more."""
    owed = exists().where(DOCUMENTS.c.document_id == COPIES.c.document_id, DOCUMENTS.c.awaiting)
    answered = (COPIES.c.tenant_id == tenant_id) & COPIES.c.sent & ~COPIES.c.done & ~owed
    await session.execute(update(COPIES).where(answered).values(done=True))


async def counts(session: AsyncSession, tenant_id: str) -> tuple[int, int]:
    """Return how many documents are copied, and of how many."""
    query = select(func.count().filter(COPIES.c.done), func.count()).where(COPIES.c.tenant_id == tenant_id)
    done, total = (await session.execute(query)).one()
    return done, total


def _select() -> Select[tuple[str, str, str, str, bool, float]]:
    seconds = func.extract("epoch", func.clock_timestamp() - COLUMNS.moved_at)
    return select(
        COLUMNS.tenant_id, COLUMNS.place, COLUMNS.state, COLUMNS.other_place, COLUMNS.listed, seconds.label("seconds")
    )


def _values(placed: Placed) -> dict[str, object]:
    return {
        "place": placed.place,
        "state": placed.state,
        "other_place": placed.other_place,
        "listed": placed.listed,
        "moved_at": func.clock_timestamp(),
    }


def _placed_of(row: Row[tuple[str, str, str, str, bool, float]]) -> Placed:
    return Placed(row.tenant_id, row.place, MoveState(row.state), row.other_place, row.listed, float(row.seconds))
