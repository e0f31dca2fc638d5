"""The transactional outbox: records written with the data they tell of, then relayed to the bus."""

import asyncio
from collections.abc import Iterable

import structlog
from sqlalchemy import JSON, BigInteger, Column, Identity, LargeBinary, MetaData, String, Table, delete, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from services.common.bus import BusUnavailable, Producer, Record
from services.common.database import Sessions, is_away
from services.common.telemetry import inject

BATCH = 500
IDLE_SECONDS = 1.0

log = structlog.get_logger()


def outbox_table(metadata: MetaData) -> Table:
    """Return the outbox of one service's schema."""
    return Table(
        "outbox",
        metadata,
        Column("id", BigInteger, Identity(), primary_key=True),
        Column("topic", String, nullable=False),
        Column("key", LargeBinary, nullable=False),
        Column("value", LargeBinary, nullable=False),
        Column("headers", JSON, nullable=False),
    )


class Outbox:
    """Adds records to the caller's transaction, and relays what was committed, in order."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._written = asyncio.Event()

    async def add(self, session: AsyncSession, records: Iterable[Record]) -> None:
        """Write `records` in the caller's transaction, with the current trace context."""
        headers = inject({})
        rows = [
            {"topic": record.topic, "key": record.key, "value": record.value, "headers": headers} for record in records
        ]
        if rows:
            await session.execute(insert(self._table), rows)

    def wake(self) -> None:
        """Tell the relay that something was committed; without it, it looks once a second."""
        self._written.set()

    async def relay(self, sessions: Sessions, producer: Producer) -> None:
        """Publish for ever what was committed, then forget it. At least once, in order."""
        while True:
            try:
                sent = await self._relay_batch(sessions, producer)
            except Exception as error:
                if not (isinstance(error, BusUnavailable) or is_away(error)):
                    raise
                log.warning("relay_waits", error=type(error).__name__, detail=str(error)[:300])
                await asyncio.sleep(IDLE_SECONDS)
                continue
            if sent < BATCH:
                await self._idle()

    async def _idle(self) -> None:
        try:
            async with asyncio.timeout(IDLE_SECONDS):
                await self._written.wait()
        except TimeoutError:
            pass
        self._written.clear()

    async def _relay_batch(self, sessions: Sessions, producer: Producer) -> int:
        async with sessions.begin() as session:
            # One relay at a time: the lock on the oldest rows keeps replicas in order.
            query = select(self._table).order_by(self._table.c.id).limit(BATCH).with_for_update()
            rows = (await session.execute(query)).all()
            if rows:
                await producer.send([Record(row.topic, row.key, row.value, row.headers) for row in rows])
                await session.execute(delete(self._table).where(self._table.c.id.in_([row.id for row in rows])))
            return len(rows)
