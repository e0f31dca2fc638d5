"""Consumers of the event log: they hand over batches, and commit last."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import structlog
from kafka import KafkaConsumer

from services.common.bus import CONNECTION, RETRY_SECONDS, Record, ensure_topics
from services.common.bus_security import UNSECURED, BusSecurity
from services.common.faults import described
from services.common.telemetry import RECORD_SECONDS, RECORDS

SESSION_TIMEOUT_MS = 6000
POLL_MS = 200

Handle = Callable[[Sequence[Record]], Awaitable[None]]
T = TypeVar("T")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Subscription:
    """Which records a consumer group wants, and how many at a time.

    It rests for `rest_seconds` after each batch: under load, what comes meanwhile comes together.
    """

    bootstrap: str
    topics: tuple[str, ...]
    group: str
    max_records: int = 100
    rest_seconds: float = 0.0
    security: BusSecurity = UNSECURED


async def consume(subscription: Subscription, handle: Handle) -> None:
    """Hand every record to `handle`, in batches, for ever; commit after it returns.

    Delivery is at least once. When `handle` raises, or the broker goes away, the consumer
    starts again from the last commit. `handle` itself deals with records that can never
    succeed. A broker that lost everything is read from its beginning.
    """
    await restarting(subscription, partial(_consume_until_it_fails, subscription, handle))


async def restarting(subscription: Subscription, consuming: Callable[[], Awaitable[None]]) -> None:
    """Run `consuming` for ever; when it fails, log it and start it again."""
    while True:
        try:
            await consuming()
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - nothing may end the consumer; it is logged and tried again
            log.warning("consumer_restarts", topics=subscription.topics, error=described(error))
        await asyncio.sleep(RETRY_SECONDS)


async def _consume_until_it_fails(subscription: Subscription, handle: Handle) -> None:
    async with open_consumer(subscription) as consumer:
        while True:
            records = records_of(await to_its_end(consumer.poll, POLL_MS, subscription.max_records))
            if records:
                with RECORD_SECONDS.labels(records[0].topic).time():
                    await handle(records)
                RECORDS.labels(records[0].topic, "handled").inc(len(records))
                await to_its_end(consumer.commit)
                await asyncio.sleep(subscription.rest_seconds)


@contextlib.asynccontextmanager
async def open_consumer(subscription: Subscription, listener: Any = None) -> AsyncIterator[Any]:
    """Give the group's consumer on topics that are there; `listener` is told of rebalances, in the driver's thread.

    Raises:
        BusUnavailable: the broker cannot be reached.
    """
    await ensure_topics(subscription.bootstrap, subscription.security)
    consumer = await asyncio.to_thread(_consumer_of, subscription, listener)
    try:
        yield consumer
    finally:
        # Why it is closed matters more than that it cannot be, as when the broker is away.
        with contextlib.suppress(Exception):
            await asyncio.shield(asyncio.to_thread(consumer.close, autocommit=False))


def records_of(batches: Mapping[Any, Sequence[Any]]) -> list[Record]:
    """Return what a poll brought."""
    return [_record(partition, raw) for partition, batch in batches.items() for raw in batch]


def _consumer_of(subscription: Subscription, listener: Any) -> Any:
    consumer = KafkaConsumer(
        bootstrap_servers=subscription.bootstrap,
        group_id=subscription.group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        session_timeout_ms=SESSION_TIMEOUT_MS,
        heartbeat_interval_ms=SESSION_TIMEOUT_MS // 3,
        # A batch of slow documents may take long; heartbeats tell of a dead process all the same.
        max_poll_interval_ms=24 * 3600 * 1000,
        metadata_max_age_ms=5000,
        **CONNECTION | {"request_timeout_ms": 10_000} | subscription.security.for_kafka_python(),
    )
    consumer.subscribe(subscription.topics, listener=listener)
    return consumer


def _record(partition: Any, raw: Any) -> Record:
    headers = {key: value.decode("utf-8", "replace") for key, value in raw.headers or ()}
    return Record(partition.topic, raw.key or b"", raw.value or b"", headers, partition.partition, raw.offset)


async def to_its_end(call: Callable[..., T], *arguments: Any) -> T:
    """Run a call in a thread, to its end also when cancelled: a consumer is for one thread at a time."""
    running = asyncio.create_task(asyncio.to_thread(call, *arguments))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait({running})
        raise
