"""The transactional outbox: records written with the data they tell of, then relayed to the bus in turns."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import zip_longest
from typing import Any

import structlog
from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Identity,
    Index,
    LargeBinary,
    MetaData,
    Select,
    String,
    Table,
    bindparam,
    delete,
    func,
    insert,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession

from services.common.bus import BusUnavailable, Producer, Record, tenant_of
from services.common.database import Sessions, is_away
from services.common.faults import described
from services.common.pacing import Pace
from services.common.telemetry import inject

BATCH = 500
# What a tenant may publish a look while the reader is far behind, and how long until the next look.
TRICKLE = 10
PACED_SECONDS = 0.5
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
        # The tenant: rows of one lane are published in their order, lanes take turns.
        Column("lane", String(collation="C"), nullable=False),
        Index("ix_outbox_lane", "lane", "id"),
    )


class Outbox:
    """Adds records to the caller's transaction, and relays what was committed, in order."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._name = str(table)
        self._last_lane: str | None = None
        self._written = asyncio.Event()

    async def add(self, session: AsyncSession, records: Iterable[Record]) -> None:
        """Write `records` in the caller's transaction, with the current trace context."""
        headers = inject({})
        rows = [
            {
                "topic": record.topic,
                "key": record.key,
                "value": record.value,
                "headers": headers,
                "lane": tenant_of(record.key),
            }
            for record in records
        ]
        if rows:
            await session.execute(insert(self._table), rows)

    def wake(self) -> None:
        """Tell the relay that something was committed; without it, it looks once a second."""
        self._written.set()

    async def relay(self, sessions: Sessions, producer: Producer, pace: Pace | None = None) -> None:
        """Publish for ever what was committed, then forget it. At least once, in order within a lane.

        While `pace` says that the reader is behind, each lane publishes a trickle only: a lane with a
        backlog waits here, and is not ahead of the others there.
        """
        while True:
            try:
                is_behind = pace is not None and await pace.is_behind()
                has_more = await self._relay_turn(sessions, producer, TRICKLE if is_behind else BATCH)
            except Exception as error:
                if not (isinstance(error, BusUnavailable) or is_away(error)):
                    raise
                log.warning("relay_waits", error=described(error))
                await asyncio.sleep(IDLE_SECONDS)
                continue
            if has_more and is_behind:
                await asyncio.sleep(PACED_SECONDS)
            elif not has_more:
                await self._idle()

    async def _idle(self) -> None:
        try:
            async with asyncio.timeout(IDLE_SECONDS):
                await self._written.wait()
        except TimeoutError:
            pass
        self._written.clear()

    async def _relay_turn(self, sessions: Sessions, producer: Producer, most: int) -> bool:
        """Publish the next rows of each lane, `most` of each and a batch in all; return whether more may be there."""
        async with sessions.begin() as session:
            # One relay at a time keeps replicas in order.
            await session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(self._name, 0))))
            lanes = await self._next_lanes(session)
            share = min(most, max(1, BATCH // max(1, len(lanes))))
            rows = _in_turns((await session.execute(self._rows_of(lanes, share))).all()) if lanes else []
            if rows:
                await producer.send([Record(row.topic, row.key, row.value, row.headers) for row in rows])
                await session.execute(delete(self._table).where(self._table.c.id.in_([row.id for row in rows])))
            return len(lanes) == BATCH or any(count >= share for count in Counter(row.lane for row in rows).values())

    async def _next_lanes(self, session: AsyncSession) -> list[str]:
        """Return the lanes that have rows, beginning after the last of the turn before."""
        found = [row.lane for row in await session.execute(self._lanes_after(self._last_lane))]
        if len(found) < BATCH and self._last_lane is not None:
            first = [row.lane for row in await session.execute(self._lanes_after(None))]
            found += [lane for lane in first if lane <= self._last_lane][: BATCH - len(found)]
        self._last_lane = found[-1] if found else None
        return found

    def _lanes_after(self, last: str | None) -> Select[Any]:
        """Select up to a batch of lanes, by hops along the index: each costs a look-up, however many rows there are."""
        lane = self._table.c.lane
        first = (
            select(func.min(lane).label("lane"))
            .where(true() if last is None else lane > last)
            .cte("lanes", recursive=True)
        )
        after = select(func.min(lane)).where(lane > first.c.lane).scalar_subquery()
        hops = first.union_all(select(after).where(first.c.lane.is_not(None)))
        return select(hops.c.lane).where(hops.c.lane.is_not(None)).limit(BATCH)

    def _rows_of(self, lanes: list[str], share: int) -> Select[Any]:
        """Select the oldest rows of each lane."""
        wanted = func.unnest(bindparam("lanes", lanes, ARRAY(String))).table_valued("lane").render_derived("wanted")
        table = self._table
        oldest = select(table).where(table.c.lane == wanted.c.lane).order_by(table.c.id).limit(share).lateral("oldest")
        return select(oldest).select_from(wanted.join(oldest, true())).order_by(oldest.c.id)


def _in_turns(rows: Iterable[Any]) -> list[Any]:
    """Return rows so that lanes alternate, each lane's in their order."""
    lanes: dict[str, list[Any]] = defaultdict(list)
    for row in rows:
        lanes[row.lane].append(row)
    return [row for turn in zip_longest(*lanes.values()) for row in turn if row is not None]
