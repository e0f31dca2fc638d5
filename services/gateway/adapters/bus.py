"""Interactions on the bus, each acknowledged by the broker.

The C client does its work outside of Python: an answer costs tens of microseconds here, where
kafka-python takes over two milliseconds of this process.
"""

import asyncio
import contextlib
import itertools
from functools import partial

import structlog
from confluent_kafka import KafkaError, KafkaException, Producer

from services.common.bus import ANSWERS_FAILED, INTERACTIONS, RETRY_SECONDS, BusUnavailable, ensure_topics, key_of
from services.common.bus_security import UNSECURED, BusSecurity
from services.common.faults import described
from services.common.telemetry import inject

MOST_WAITING = 10_000
# An acknowledgement takes less than a millisecond as a rule: the first turns of the loop look
# for it each, and then it is looked for every millisecond.
EAGER_TURNS = 50
POLL_SECONDS = 0.001
IDLE_SECONDS = 1.0

log = structlog.get_logger()


class BusInteractionLog:
    """InteractionLog on the topics `interactions` and `answers.failed`; `run` must run beside the server."""

    def __init__(self, bootstrap: str, security: BusSecurity = UNSECURED) -> None:
        self._bootstrap = bootstrap
        self._security = security
        self._connected = False
        self._sent = asyncio.Event()
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "acks": "all",
                # What comes while a request is out goes together in the next.
                "linger.ms": 0,
                "max.in.flight.requests.per.connection": 1,
                # A broker that lost its state refuses the idempotent producer for ever. Nothing
                # is lost without: an answer waits for its record, and consumers tolerate repeats.
                "enable.idempotence": False,
                "message.timeout.ms": 8000,
                "reconnect.backoff.max.ms": 1000,
                "topic.metadata.refresh.interval.ms": 5000,
                "queue.buffering.max.messages": MOST_WAITING,
                "error_cb": _note,
                "log_level": 2,
                **security.for_librdkafka(),
            }
        )

    def record(self, tenant_id: str, conversation_id: str, interaction: bytes) -> asyncio.Future[None]:
        return self._send(INTERACTIONS, tenant_id, conversation_id, interaction)

    def fail(self, tenant_id: str, conversation_id: str, failure: bytes) -> asyncio.Future[None]:
        return self._send(ANSWERS_FAILED, tenant_id, conversation_id, failure)

    def _send(self, topic: str, tenant_id: str, conversation_id: str, value: bytes) -> asyncio.Future[None]:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.add_done_callback(_look)
        try:
            self._producer.produce(
                topic,
                key=key_of(tenant_id, conversation_id),
                value=value,
                headers=inject({}),
                on_delivery=partial(_settle, done),
            )
        except (BufferError, KafkaException):
            done.set_exception(BusUnavailable("the event log takes no more records"))
        self._sent.set()
        return done

    async def ping(self) -> None:
        """Raise BusUnavailable until the broker was reached."""
        if not self._connected:
            raise BusUnavailable("the event log was not reached yet", bootstrap=self._bootstrap)

    async def run(self) -> None:
        """Hear for ever what the broker acknowledged."""
        await self._reach()
        while True:
            await self._until_sent()
            for turn in itertools.count():
                self._producer.poll(0)
                if not len(self._producer):
                    break
                await asyncio.sleep(0 if turn < EAGER_TURNS else POLL_SECONDS)

    async def _until_sent(self) -> None:
        # Without records, too, errors of the connection want to be heard.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(IDLE_SECONDS):
                await self._sent.wait()
        self._sent.clear()

    async def _reach(self) -> None:
        while not self._connected:
            try:
                await ensure_topics(self._bootstrap, self._security)
                self._connected = True
            except BusUnavailable as error:
                log.warning("bus_unavailable", error=described(error.__cause__))
                await asyncio.sleep(RETRY_SECONDS)


def _settle(done: asyncio.Future[None], error: KafkaError | None, _: object) -> None:
    if done.done():
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(BusUnavailable("the event log did not take the record"))


def _note(error: KafkaError) -> None:
    log.warning("bus_error", error=error.name())


def _look(done: asyncio.Future[None]) -> None:
    """Take note of an error whose caller has gone, or asyncio complains of it."""
    if not done.cancelled():
        done.exception()
