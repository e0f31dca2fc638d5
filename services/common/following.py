"""Followers of a compacted topic: each reads the whole of it, and then what comes."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from services.common.bus import CONNECTION, PARTITIONS, RETRY_SECONDS, BusUnavailable, Record, ensure_topics
from services.common.bus_security import UNSECURED, BusSecurity
from services.common.consuming import records_of, to_its_end
from services.common.faults import described
from services.common.telemetry import RECORDS

POLL_MS = 200
MAX_RECORDS = 500
# How often it is looked whether the broker still has the topic that is being read.
LOOK_SECONDS = 1.0
# After so many looks at what there is and does not come, the reader is another.
MOST_SILENT = 3
# After so many readers that were given nothing, the next does without what there is.
MOST_SILENT_READERS = 2

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Following:
    """Which topic is followed, and who is told: of records, and whenever all that was there has been read.

    `handle` deals itself with what can never succeed.
    """

    bootstrap: str
    topic: str
    handle: Callable[[Sequence[Record]], None]
    caught_up: Callable[[], None]
    security: BusSecurity = UNSECURED


class _Silent(Exception):
    """The broker gives nothing of what it says that it has."""


async def follow(following: Following) -> None:
    """Hand over every record, from the topic's beginning, for ever; from its beginning again after every fault.

    No group is joined and nothing is committed: every follower sees all. A broker that lost its topics
    is found out by the topic's id, and what it has then is read from its beginning. Where it counts
    records and gives none, as the default broker may after its topics were made by several at once,
    what comes next is read: whoever writes such a topic says all of it again from time to time.
    """
    silences = 0
    while True:
        try:
            async with _open(following) as reader:
                await reader.read(from_end=silences >= MOST_SILENT_READERS)
        except asyncio.CancelledError:
            raise
        except _Silent:
            silences += 1
            log.warning("follower_is_given_nothing", topic=following.topic)
        except Exception as error:  # noqa: BLE001 - nothing may end the follower; it is logged and tried again
            silences = 0
            log.warning("follower_restarts", topic=following.topic, error=described(error))
        await asyncio.sleep(RETRY_SECONDS)


@contextlib.asynccontextmanager
async def _open(following: Following) -> AsyncIterator["_Reader"]:
    await ensure_topics(following.bootstrap, following.security)
    connection = CONNECTION | following.security.for_kafka_python()
    clients: list[Any] = []
    try:
        for client in (KafkaAdminClient, KafkaConsumer):
            made = partial(client, bootstrap_servers=following.bootstrap, **_options(client, connection))
            clients.append(await to_its_end(made))
        yield _Reader(following, *clients)
    finally:
        for each in clients:
            # Why it is closed matters more than that it cannot be, as when the broker is away.
            with contextlib.suppress(Exception):
                await asyncio.shield(asyncio.to_thread(each.close))


def _options(client: type, connection: dict[str, Any]) -> dict[str, Any]:
    if client is KafkaAdminClient:
        return connection
    own = {"group_id": None, "enable_auto_commit": False, "auto_offset_reset": "earliest", "metadata_max_age_ms": 5000}
    return connection | own


class _Reader:
    def __init__(self, following: Following, admin: Any, consumer: Any) -> None:
        self._following = following
        self._admin = admin
        self._consumer = consumer
        self._silent = 0
        self._partitions = [TopicPartition(following.topic, each) for each in range(PARTITIONS[following.topic])]

    async def read(self, *, from_end: bool) -> None:
        topic_id = await to_its_end(self._topic_id)
        ends = await to_its_end(self._begin, from_end)
        # A broker that is silent may never tell more than where it ends.
        is_behind = self._is_before if from_end else self._is_behind
        looked, behind, came = time.monotonic(), True, False
        while True:
            came |= await self._polled()
            if behind:
                behind = await to_its_end(is_behind, ends)
                if not behind:
                    self._following.caught_up()
            if time.monotonic() >= looked + LOOK_SECONDS:
                ends = await self._looked(topic_id, ends, came=came)
                looked, came = time.monotonic(), False

    async def _polled(self) -> bool:
        """Hand over what has come, and tell whether anything has."""
        records = records_of(await to_its_end(self._consumer.poll, POLL_MS, MAX_RECORDS))
        if records:
            self._following.handle(records)
            RECORDS.labels(self._following.topic, "handled").inc(len(records))
        return bool(records)

    async def _looked(self, topic_id: Any, ends: Mapping[Any, int], *, came: bool) -> Mapping[Any, int]:
        """Return where the topic ends now.

        Raises:
            BusUnavailable: it is another topic.
            _Silent: it has had more for some looks, of which nothing has come.
        """
        if await to_its_end(self._topic_id) != topic_id:
            raise BusUnavailable("the broker lost its topics")
        self._silent = 0 if came or not await to_its_end(self._is_before, ends) else self._silent + 1
        if self._silent >= MOST_SILENT:
            raise _Silent
        now: Mapping[Any, int] = await to_its_end(self._consumer.end_offsets, self._partitions)
        return now

    def _begin(self, from_end: bool) -> Mapping[Any, int]:  # noqa: FBT001 - called through a thread, by position
        self._consumer.assign(self._partitions)
        ends: Mapping[Any, int] = self._consumer.end_offsets(self._partitions)
        if from_end:
            for partition, end in ends.items():
                self._consumer.seek(partition, end)
        else:
            self._consumer.seek_to_beginning(*self._partitions)
        return ends

    def _is_behind(self, ends: Mapping[Any, int]) -> bool:
        """Tell whether there is more than was read, also by what came with the records themselves.

        The default broker's answer to where a topic ends lies in the middle of its last batch.
        """
        marks = {each: self._consumer.highwater(each) for each in ends}
        return None in marks.values() or self._is_before(ends) or self._is_before(marks)

    def _is_before(self, ends: Mapping[Any, int]) -> bool:
        return any((self._consumer.position(each) or 0) < end for each, end in ends.items())

    def _topic_id(self) -> Any:
        (described_topic,) = self._admin.describe_topics([self._following.topic])
        if described_topic.get("error_code"):
            raise KafkaError("the topic is not there")
        return described_topic["topic_id"]
