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
            log.warning("lag_unknown", error=type(error).__name__, detail=str(error)[:300])
            return False


class GroupLag:
    """Reads how many records of a topic a group has not committed; connects when it is first asked."""

    def __init__(self, bootstrap: str, group: str, topic: str) -> None:
        self._bootstrap = bootstrap
        self._group = group
        self._partitions = [TopicPartition(topic, number) for number in range(PARTITIONS[topic])]
        self._admin: Any = None

    def read(self) -> int:
        """Return the lag, blocking.

        Raises:
            KafkaError: the broker did not say.
        """
        try:
            self._admin = self._admin or KafkaAdminClient(bootstrap_servers=self._bootstrap, **CONNECTION)
            ends = self._admin.list_partition_offsets(dict.fromkeys(self._partitions, OffsetSpec.LATEST))
            committed = self._admin.list_group_offsets({self._group: self._partitions})[self._group]
        except KafkaError:
            self.close()
            raise
        return sum(max(0, ends[one].offset - _position(committed, one)) for one in self._partitions)

    def close(self) -> None:
        """Let go of the broker."""
        if self._admin is not None:
            # It may be away.
            with contextlib.suppress(KafkaError):
                self._admin.close()
        self._admin = None


@contextlib.asynccontextmanager
async def open_pace(bootstrap: str, group: str, topic: str, bound: int) -> AsyncIterator[GroupPace]:
    """Give the pace that a group sets on a topic."""
    lag = GroupLag(bootstrap, group, topic)
    try:
        yield GroupPace(lag.read, bound)
    finally:
        await asyncio.to_thread(lag.close)


def _position(committed: dict[TopicPartition, Any], partition: TopicPartition) -> int:
    """Return where the group is: at the beginning where it has committed nothing."""
    return max(0, committed[partition].offset) if partition in committed else 0
