"""Tells producers whether a consumer group is far behind, so that they may wait."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol

import structlog
from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import OffsetSpec
from kafka.errors import KafkaError

from services.common.bus import CONNECTION, PARTITIONS
from services.common.consuming import Subscription
from services.common.faults import described

LOOK_SECONDS = 1.0

log = structlog.get_logger()


class Pace(Protocol):
    """Says when to hold back."""

    async def is_behind(self) -> bool:
        """Return whether the reader is too far behind."""


class GroupPace:
    """Compares a group's lag on a topic with a bound, at most once a second; a lag that cannot be read holds nobody."""

    def __init__(self, read_lag: Callable[[], int], bound: int, now: Callable[[], float] = time.monotonic) -> None:
        self._read_lag = read_lag
        self._bound = bound
        self._now = now
        self._until = 0.0
        self._behind = False

    async def is_behind(self) -> bool:
        """Return whether the group had more than `bound` records to read, a moment ago."""
        if self._now() >= self._until:
            self._until = self._now() + LOOK_SECONDS
            self._behind = await self._is_behind_now()
        return self._behind

    async def _is_behind_now(self) -> bool:
        try:
            return await asyncio.to_thread(self._read_lag) > self._bound
        except KafkaError as error:
            log.warning("lag_unknown", error=described(error))
            return False


class GroupLag:
    """Reads how many records of its one topic a group has not committed; connects when it is first asked."""

    def __init__(self, read: Subscription) -> None:
        self._read = read
        self._partitions = [
            TopicPartition(topic, number) for topic in read.topics for number in range(PARTITIONS[topic])
        ]
        self._admin: Any = None

    def read(self) -> int:
        """Return the lag, blocking.

        Raises:
            KafkaError: the broker did not say.
        """
        group = self._read.group
        try:
            self._admin = self._admin or self._connected()
            ends = self._admin.list_partition_offsets(dict.fromkeys(self._partitions, OffsetSpec.LATEST))
            committed = self._admin.list_group_offsets({group: self._partitions})[group]
        except KafkaError:
            self.close()
            raise
        return sum(max(0, ends[one].offset - _position(committed, one)) for one in self._partitions)

    def _connected(self) -> Any:
        security = self._read.security.for_kafka_python()
        return KafkaAdminClient(bootstrap_servers=self._read.bootstrap, **CONNECTION, **security)

    def close(self) -> None:
        """Let go of the broker."""
        if self._admin is not None:
            # It may be away.
            with contextlib.suppress(KafkaError):
                self._admin.close()
        self._admin = None


@contextlib.asynccontextmanager
async def open_pace(read: Subscription, bound: int) -> AsyncIterator[GroupPace]:
    """Give the pace that a group sets on what it reads."""
    lag = GroupLag(read)
    try:
        yield GroupPace(lag.read, bound)
    finally:
        await asyncio.to_thread(lag.close)


def _position(committed: dict[TopicPartition, Any], partition: TopicPartition) -> int:
    """Return where the group is: at the beginning where it has committed nothing."""
    return max(0, committed[partition].offset) if partition in committed else 0
