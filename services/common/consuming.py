"""Consumers of the event log: they hand over batches, and commit last."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog
from kafka import KafkaConsumer

from services.common.bus import CONNECTION, RETRY_SECONDS, Record, ensure_topics
from services.common.bus_security import UNSECURED, BusSecurity
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
    while True:
        try:
            await _consume_until_it_fails(subscription, handle)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - nothing may end the consumer; it is logged and tried again
            log.warning(
                "consumer_restarts", topics=subscription.topics, error=type(error).__name__, detail=str(error)[:300]
            )
        await asyncio.sleep(RETRY_SECONDS)


async def _consume_until_it_fails(subscription: Subscription, handle: Handle) -> None:
    await ensure_topics(subscription.bootstrap, subscription.security)
    consumer = await asyncio.to_thread(_open_consumer, subscription)
    try:
        while True:
            batches = await _to_its_end(consumer.poll, POLL_MS, subscription.max_records)
            records = [_record(partition, raw) for partition, batch in batches.items() for raw in batch]
            if records:
                with RECORD_SECONDS.labels(records[0].topic).time():
                    await handle(records)
                RECORDS.labels(records[0].topic, "handled").inc(len(records))
                await _to_its_end(consumer.commit)
                await asyncio.sleep(subscription.rest_seconds)
    finally:
        # Why it is closed matters more than that it cannot be, as when the broker is away.
        with contextlib.suppress(Exception):
            await asyncio.shield(asyncio.to_thread(consumer.close, autocommit=False))


def _open_consumer(subscription: Subscription) -> Any:
    return KafkaConsumer(
        *subscription.topics,
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


def _record(partition: Any, raw: Any) -> Record:
    headers = {key: value.decode("utf-8", "replace") for key, value in raw.headers or ()}
    return Record(partition.topic, raw.key or b"", raw.value or b"", headers, partition.partition, raw.offset)


async def _to_its_end(call: Callable[..., T], *arguments: Any) -> T:
    """Run a call in a thread, to its end also when cancelled: a consumer is for one thread at a time."""
    running = asyncio.create_task(asyncio.to_thread(call, *arguments))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait({running})
        raise
