"""Tells replicas where all aliases point: as they move, at the start, every half minute, and to an emptied broker."""

import asyncio
import time

import structlog

from services.common.bus import BusUnavailable, Producer, open_producer
from services.common.bus_security import BusSecurity
from services.common.database import Sessions
from services.common.faults import described
from services.common.outbox import Outbox
from services.tune.adapters.alias_records import alias_record
from services.tune.adapters.aliases import PostgresAliases
from services.tune.domain.errors import StoreUnavailable
from services.tune.registry_metrics import PUBLISHED

AGAIN_SECONDS = 30.0
# How often it is looked whether the broker still has its topics.
CHECK_SECONDS = 2.0
BATCH = 500

log = structlog.get_logger()


async def relay(outbox: Outbox, sessions: Sessions, bus: str, security: BusSecurity) -> None:
    """Publish each move as it is committed, for ever, from when the broker is there."""
    async with open_producer(bus, security) as producer:
        await outbox.relay(sessions, producer)


async def publish_again(
    aliases: PostgresAliases, bus: str, security: BusSecurity, every_seconds: float = AGAIN_SECONDS
) -> None:
    """Publish every alias at the start, every so many seconds, and at once to a broker that lost its topics; for ever.

    What was published before does no harm: of an alias the highest revision counts.
    """
    async with open_producer(bus, security) as producer:
        while True:
            try:
                await _publish(aliases, producer)
                await _until_lost(producer, every_seconds)
            except (BusUnavailable, StoreUnavailable) as error:
                log.warning("aliases_are_told_later", error=described(error))
                await asyncio.sleep(1)


async def _publish(aliases: PostgresAliases, producer: Producer) -> None:
    records = [alias_record(alias) for alias in await aliases.told()]
    for start in range(0, len(records), BATCH):
        await producer.send(records[start : start + BATCH])
    PUBLISHED.inc(len(records))


async def _until_lost(producer: Producer, seconds: float) -> None:
    """Wait so long.

    Raises:
        BusUnavailable: the broker is away, or lost its topics, before that.
    """
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        await asyncio.sleep(min(left, CHECK_SECONDS))
        await producer.check()
