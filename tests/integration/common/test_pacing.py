"""How far a group is behind is read from the real broker, and what cannot be read holds nobody."""

import uuid

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaConnectionError
from kafka.structs import OffsetAndMetadata

from services.common.bus import PARTITIONS, RATINGS, Record, open_producer
from services.common.consuming import Subscription
from services.common.pacing import GroupLag, GroupPace


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


async def test_the_lag_is_what_was_written_and_not_committed(bus):
    group = uuid.uuid4().hex
    lag = GroupLag(Subscription(bus, (RATINGS,), group))
    async with open_producer(bus) as producer:
        before = lag.read()
        # One by one: of the last batch of a partition the broker of the tests counts one record only.
        for number in range(30):
            await producer.send([Record(RATINGS, b"%d" % number, b"")])
    assert lag.read() == before + 30
    consumer = KafkaConsumer(bootstrap_servers=bus, group_id=group, enable_auto_commit=False)
    partitions = [TopicPartition(RATINGS, number) for number in range(PARTITIONS[RATINGS])]
    ends = consumer.end_offsets(partitions)
    consumer.commit({partition: OffsetAndMetadata(end) for partition, end in ends.items()})
    consumer.close()
    assert lag.read() == 0
    lag.close()


async def test_a_group_is_behind_over_the_bound_and_the_broker_is_asked_once_a_second():
    clock, lags = Clock(), [11, 10]
    pace = GroupPace(lambda: lags.pop(0), 10, clock)
    assert await pace.is_behind()
    clock.now = 0.9
    assert await pace.is_behind()
    clock.now = 1.0
    assert not await pace.is_behind()


async def test_a_lag_that_cannot_be_read_holds_nobody():
    def fail():
        raise KafkaConnectionError("away")

    assert not await GroupPace(fail, 0).is_behind()
