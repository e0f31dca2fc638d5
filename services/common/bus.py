"""The event log: its topics and records, and a producer that waits for the broker.

kafka-python is synchronous, so its calls run in threads. Records are protobuf; W3C trace
context travels in their headers.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog
from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import NewTopic
from kafka.errors import KafkaError, TopicAlreadyExistsError, UnknownTopicOrPartitionError

from services.common.bus_security import UNSECURED, BusSecurity
from services.common.errors import Unavailable
from services.common.faults import described
from services.common.telemetry import inject

DOCUMENTS_CHANGED = "documents.changed"
DOCUMENTS_INDEXED = "documents.indexed"
DOCUMENTS_DEAD = "documents.dead"
INTERACTIONS = "interactions"
RATINGS = "ratings"
# What each alias of an adapter points at; of a key only the last record counts.
ADAPTERS = "adapters"
# What replicas of generate have loaded.
ADAPTERS_REPORTED = "adapters.reported"
ANSWERS_FAILED = "answers.failed"

PARTITIONS = {
    DOCUMENTS_CHANGED: 4,
    DOCUMENTS_INDEXED: 4,
    DOCUMENTS_DEAD: 1,
    INTERACTIONS: 4,
    RATINGS: 4,
    ADAPTERS: 1,
    ADAPTERS_REPORTED: 1,
    ANSWERS_FAILED: 4,
}

COMPACTED = frozenset({ADAPTERS})

RETRY_SECONDS = 0.5

# The driver's own would wait up to 30 seconds before it tries a broker that is back again.
CONNECTION = {"reconnect_backoff_max_ms": 1000, "bootstrap_timeout_ms": 5000, "request_timeout_ms": 5000}

log = structlog.get_logger()


class BusUnavailable(Unavailable):
    """The event log did not take a record."""

    reason = "BUS_UNAVAILABLE"


@dataclass(frozen=True, slots=True)
class Record:
    """A record read from, or to be written to, a topic."""

    topic: str
    key: bytes
    value: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    partition: int = -1
    offset: int = -1


def key_of(tenant_id: str, object_id: str) -> bytes:
    """Return the key that keeps one object's records in order."""
    return f"{tenant_id}/{object_id}".encode()


def tenant_of(key: bytes) -> str:
    """Return the tenant in a key that `key_of` made."""
    return key.partition(b"/")[0].decode("utf-8", "replace")


async def ensure_topics(bootstrap: str, security: BusSecurity = UNSECURED) -> None:
    """Create the topics that are missing.

    Raises:
        BusUnavailable: the broker cannot be reached.
    """
    try:
        await asyncio.to_thread(_create_topics, bootstrap, security)
    except KafkaError as error:
        raise BusUnavailable("the event log cannot be reached", bootstrap=bootstrap) from error


def _create_topics(bootstrap: str, security: BusSecurity) -> None:
    admin = KafkaAdminClient(bootstrap_servers=bootstrap, **CONNECTION, **security.for_kafka_python())
    try:
        missing = set(PARTITIONS) - set(admin.list_topics())
        for topic in missing:
            with contextlib.suppress(TopicAlreadyExistsError):
                admin.create_topics([NewTopic(topic, PARTITIONS[topic], 1, topic_configs=_configs_of(topic))])
    finally:
        admin.close()


def _configs_of(topic: str) -> dict[str, str]:
    return {"cleanup.policy": "compact"} if topic in COMPACTED else {}


def _topic_ids(admin: Any) -> dict[str, str]:
    return {topic["name"]: topic["topic_id"] for topic in admin.describe_topics(list(PARTITIONS))}


class Producer:
    """Writes records; `send` returns when the broker has them all."""

    def __init__(self, bootstrap: str, timeout_seconds: float = 10.0, security: BusSecurity = UNSECURED) -> None:
        self._bootstrap = bootstrap
        self._security = security
        self._timeout_seconds = timeout_seconds
        self._admin: Any = None
        self._producer: Any = None
        self._topic_ids: dict[str, str] = {}
        self._lost = True
        self._checking = asyncio.Lock()

    async def start(self) -> None:
        """Connect, and create the topics.

        Raises:
            BusUnavailable: the broker cannot be reached.
        """
        try:
            await self._reconnect_if_lost()
        except KafkaError as error:
            raise BusUnavailable("the event log cannot be reached", bootstrap=self._bootstrap) from error

    async def stop(self) -> None:
        await asyncio.to_thread(self._close)

    async def ping(self) -> None:
        """Raise BusUnavailable unless the broker answers."""
        await ensure_topics(self._bootstrap, self._security)

    async def check(self) -> None:
        """Check that the broker still has the topics that were there when this connected.

        Raises:
            BusUnavailable: it is away, or lost them; what was sent is to be sent again.
        """
        try:
            await self._reconnect_if_lost()
            await self._check_topics_were_kept()
        except (KafkaError, TimeoutError) as error:
            self._lost = True
            raise BusUnavailable("the event log is not what it was") from error

    async def send(self, records: Sequence[Record]) -> None:
        """Write `records` and wait until the broker has acknowledged each.

        Raises:
            BusUnavailable: some record was not acknowledged in time; some may have been.
        """
        try:
            await self._reconnect_if_lost()
            futures = await asyncio.to_thread(self._enqueue, records)
            async with asyncio.timeout(self._timeout_seconds):
                await asyncio.gather(*map(_awaitable, futures))
            await self._check_topics_were_kept()
        except (KafkaError, TimeoutError) as error:
            self._lost = True
            raise BusUnavailable("the event log did not take the records") from error

    async def _reconnect_if_lost(self) -> None:
        async with self._checking:
            if self._lost:
                await asyncio.to_thread(self._connect)
                self._lost = False

    async def _check_topics_were_kept(self) -> None:
        # A broker that lost its topics acknowledges records, and forgets them once the topics are made again.
        async with self._checking:
            if await asyncio.to_thread(_topic_ids, self._admin) != self._topic_ids:
                raise UnknownTopicOrPartitionError("the broker lost its topics")

    def _connect(self) -> None:
        self._close()
        _create_topics(self._bootstrap, self._security)
        connection = CONNECTION | self._security.for_kafka_python()
        self._admin = KafkaAdminClient(bootstrap_servers=self._bootstrap, **connection)
        self._topic_ids = _topic_ids(self._admin)
        self._producer = KafkaProducer(
            bootstrap_servers=self._bootstrap,
            acks="all",
            # A broker that lost its state refuses the idempotent producer for ever; one
            # request in flight keeps the order instead, and consumers tolerate repeats.
            enable_idempotence=False,
            max_in_flight_requests_per_connection=1,
            linger_ms=1,
            delivery_timeout_ms=8000,
            max_block_ms=5000,
            **connection,
        )

    def _close(self) -> None:
        if self._producer is not None:
            self._producer.close(5)
        if self._admin is not None:
            self._admin.close()
        self._producer = self._admin = None

    def _enqueue(self, records: Sequence[Record]) -> list[Any]:
        return [
            self._producer.send(
                record.topic,
                key=record.key,
                value=record.value,
                headers=[(key, value.encode()) for key, value in record.headers.items()],
            )
            for record in records
        ]


def _awaitable(kafka_future: Any) -> asyncio.Future[None]:
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()

    def settle(error: BaseException | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)

    kafka_future.add_callback(lambda _: loop.call_soon_threadsafe(settle, None))
    kafka_future.add_errback(lambda error: loop.call_soon_threadsafe(settle, error))
    return future


@contextlib.asynccontextmanager
async def open_producer(bootstrap: str, security: BusSecurity = UNSECURED) -> AsyncIterator[Producer]:
    """Give a connected producer, trying again until the broker is there."""
    producer = Producer(bootstrap, security=security)
    while True:
        try:
            await producer.start()
            break
        except BusUnavailable as error:
            log.warning("bus_unavailable", error=described(error.__cause__))
            await asyncio.sleep(RETRY_SECONDS)
    try:
        yield producer
    finally:
        await producer.stop()


def traced(topic: str, key: bytes, value: bytes) -> Record:
    """Return a record to send that carries the current trace context."""
    return Record(topic, key, value, inject({}))
