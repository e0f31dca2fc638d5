"""Reads `documents.changed` far ahead, has it worked on fairly between tenants, and commits what is done."""

import asyncio
import contextlib
import time
from asyncio import Event, TaskGroup
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

import structlog
from kafka import TopicPartition
from kafka.consumer.subscription_state import AsyncConsumerRebalanceListener
from kafka.errors import CommitFailedError, RebalanceInProgressError
from kafka.net.selector import KernelEvent
from kafka.structs import OffsetAndMetadata

from services.common.consuming import POLL_MS, Handle, Subscription, open_consumer, records_of, restarting, to_its_end
from services.common.errors import Unavailable
from services.common.faults import described
from services.common.telemetry import RECORD_SECONDS, RECORDS
from services.embed.metrics import AHEAD_BYTES, AHEAD_RECORDS
from services.embed.records import arrival_of
from services.embed.scheduling import Group, Limits, Partition, Schedule

REST_SECONDS = 2.0
RELEASE_SECONDS = 60.0

log = structlog.get_logger()


async def feed(subscription: Subscription, limits: Limits, handle: Handle) -> None:
    """Hand every record to `handle`, in groups of one tenant's, for ever; commit after it returns.

    Delivery is at least once; of a document's records that wait together only the newest is handed
    over, and never two at once. Where `handle` raises Unavailable, the group comes again after a
    rest, and other tenants' go on; where it raises anything else, or the broker goes away, all
    starts again from the last commit. A broker that lost everything is read from its beginning.
    """
    await restarting(subscription, partial(_feed_until_it_fails, subscription, limits, handle))


async def _feed_until_it_fails(subscription: Subscription, limits: Limits, handle: Handle) -> None:
    feeder = _Feeder(Schedule(limits), handle)
    async with open_consumer(subscription, _Rebalances(feeder.release, asyncio.get_running_loop())) as consumer:
        try:
            async with TaskGroup() as tasks:
                for _ in range(limits.groups):
                    tasks.create_task(feeder.work())
                tasks.create_task(feeder.read(consumer, subscription.max_records))
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from errors


class _Feeder:
    """Fills the schedule from the log, and empties it into `handle`."""

    def __init__(self, schedule: Schedule, handle: Handle) -> None:
        self._schedule = schedule
        self._handle = handle
        self._arrived = Event()
        self._settled = Event()
        self._releasing = False

    async def read(self, consumer: Any, max_records: int) -> None:
        """Read ahead while there is room, and commit, for ever."""
        while True:
            poll = partial(_poll, consumer, max_records, has_room=self._schedule.has_room)
            records = records_of(await to_its_end(poll))
            if records and self._releasing:
                # A rebalance that did not wait any longer: what is forgotten at its end must come again.
                raise RebalanceInProgressError
            for record in records:
                self._schedule.add(arrival_of(record))
            AHEAD_RECORDS.set(self._schedule.records)
            AHEAD_BYTES.set(self._schedule.bytes)
            self._arrived.set()
            offsets = self._schedule.committable()
            if offsets:
                await to_its_end(_commit, consumer, offsets)

    async def work(self) -> None:
        """Bring group after group to an end, for ever."""
        while True:
            group = await self._next()
            try:
                await self._bring_to_an_end(group)
            except BaseException:
                self._schedule.put_back(group)
                raise
            finally:
                self._settled.set()
                self._arrived.set()

    async def release(self) -> None:
        """Wait for what is in work, then forget what waits: the partitions are another's now."""
        self._releasing = True
        try:
            while self._schedule.in_work:
                self._settled.clear()
                await self._settled.wait()
        finally:
            self._schedule.forget()
            self._releasing = False
            self._arrived.set()

    async def _next(self) -> Group:
        while self._releasing or not (group := self._schedule.take()):
            self._arrived.clear()
            await self._arrived.wait()
        return group

    async def _bring_to_an_end(self, group: Group) -> None:
        records = group.records
        try:
            with RECORD_SECONDS.labels(records[0].topic).time():
                await self._handle(records)
        except Unavailable as error:
            log.warning("tenant_rests", tenant=group.tenant_id, reason=error.reason, error=described(error))
            self._schedule.put_back(group)
            asyncio.get_running_loop().call_later(REST_SECONDS, self._wake, group.tenant_id)
        else:
            RECORDS.labels(records[0].topic, "handled").inc(group.record_count)
            self._schedule.done(group)

    def _wake(self, tenant_id: str) -> None:
        self._schedule.wake(tenant_id)
        self._arrived.set()


class _Rebalances(AsyncConsumerRebalanceListener):  # type: ignore[misc]
    """Holds a rebalance until what is in work is done, so that no two replicas write one document.

    It runs on the driver's own loop, whose heartbeats go on meanwhile.
    """

    def __init__(self, release: Callable[[], Awaitable[None]], loop: asyncio.AbstractEventLoop) -> None:
        self._release = release
        self._loop = loop

    async def on_partitions_revoked(self, revoked: Sequence[Any]) -> None:
        deadline = time.monotonic() + RELEASE_SECONDS
        released = asyncio.run_coroutine_threadsafe(self._released(), self._loop)
        while not released.done() and time.monotonic() < deadline:
            await KernelEvent("_sleep", 0.05)
        if revoked:
            log.info("partitions_released", partitions=len(revoked), in_time=released.done())

    async def on_partitions_assigned(self, assigned: Sequence[Any]) -> None:
        log.info("partitions_assigned", partitions=len(assigned))

    async def on_partitions_lost(self, lost: Sequence[Any]) -> None:
        await self.on_partitions_revoked(lost)

    async def _released(self) -> None:
        await self._release()


def _poll(consumer: Any, max_records: int, *, has_room: bool) -> dict[Any, list[Any]]:
    """Poll also where nothing may be read: the group must hear from its member."""
    if has_room:
        consumer.resume(*consumer.paused())
    else:
        consumer.pause(*consumer.assignment())
    batches: dict[Any, list[Any]] = consumer.poll(POLL_MS, max_records)
    return batches


def _commit(consumer: Any, offsets: Mapping[Partition, int]) -> None:
    # While the group shares its partitions out anew nothing can be committed; a later commit says it, too.
    with contextlib.suppress(CommitFailedError, RebalanceInProgressError):
        consumer.commit({TopicPartition(*where): OffsetAndMetadata(offset) for where, offset in offsets.items()})
