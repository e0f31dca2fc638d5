"""The feedback service as a process, and records on its topics."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import asyncpg
import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_health.v1 import health_pb2, health_pb2_grpc
from kafka import KafkaConsumer
from tandem.erasure.v1 import erasure_service_pb2_grpc as erasure_rpc
from tandem.feedback.v1 import events_pb2
from tandem.feedback.v1 import feedback_service_pb2_grpc as rpc

from services.common.access import EVERY_ROLE
from services.common.bus import INTERACTIONS, RATINGS, key_of, open_producer, traced
from services.common.client import open_channel
from services.common.identity import METADATA_KEY, Identity, IdentitySigner

KEY = "k" * 32
START_SECONDS = 30


def tenant():
    return f"tenant-{uuid.uuid4().hex}"


def called_by(tenant_id, subject="user:ada", key=KEY):
    """Return the keyword arguments of a call made for somebody."""
    token = IdentitySigner(key.encode()).sign(Identity(tenant_id, subject, ("everyone", subject), EVERY_ROLE))
    return {"metadata": ((METADATA_KEY, token),), "timeout": 10}


async def database_beside(url):
    """Make an empty database beside the one at `url`, and return its URL."""
    name = f"feedback_{uuid.uuid4().hex[:8]}"
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()
    return url.replace("/postgres?", f"/{name}?")


class Process:
    """`python -m services.feedback` on one address, started and killed at will."""

    def __init__(self, address, metrics_address, database_url, bus, log):
        self.address, self.metrics_address, self._log = address, metrics_address, log
        self._environment = {
            "TANDEM_IDENTITY_KEY": KEY,
            "FEEDBACK_ADDRESS": address,
            "FEEDBACK_METRICS_ADDRESS": metrics_address,
            "FEEDBACK_DATABASE_URL": database_url,
            "FEEDBACK_BUS": bus,
            "PYTHONPATH": os.pathsep.join((str(Path.cwd()), str(Path.cwd() / "gen"))),
        }
        self._process = None

    def set(self, name, value):
        """Start it with another setting from the next time on."""
        self._environment[name] = value

    def start(self):
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "services.feedback"],
                env={**os.environ, **self._environment},
                stdout=output,
                stderr=output,
            )

    async def ready(self):
        deadline = time.monotonic() + START_SECONDS
        async with open_channel(self.address) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            while time.monotonic() < deadline:
                assert self._process.poll() is None, self._log.read_text()
                with contextlib.suppress(grpc.aio.AioRpcError):
                    answer = await health.Check(health_pb2.HealthCheckRequest(), timeout=1)
                    if answer.status == health_pb2.HealthCheckResponse.SERVING:
                        return
                await asyncio.sleep(0.1)
        raise TimeoutError(self._log.read_text())

    def stop(self, with_signal=signal.SIGTERM):
        self._process.send_signal(with_signal)
        return self._process.wait(20)

    def log(self):
        return self._log.read_text()

    @contextlib.contextmanager
    def running(self):
        self.start()
        try:
            yield self
        finally:
            if self._process.poll() is None:
                self.stop(signal.SIGKILL)


@contextlib.asynccontextmanager
async def stub_of(process):
    async with open_channel(process.address) as channel:
        yield rpc.FeedbackServiceStub(channel)


@contextlib.asynccontextmanager
async def erasure_of(process):
    async with open_channel(process.address) as channel:
        yield erasure_rpc.ErasureServiceStub(channel)


def interaction(tenant_id, interaction_id, **fields):
    asked_at = Timestamp()
    asked_at.FromSeconds(fields.pop("second", 1_790_000_000))
    return events_pb2.Interaction(
        **{
            "tenant_id": tenant_id,
            "interaction_id": interaction_id,
            "conversation_id": "talk",
            "subject": "user:ada",
            "question": f"question {interaction_id}",
            "answer": "answer",
            "asked_at": asked_at,
        }
        | fields
    )


async def publish(bus, *interactions, raw=()):
    """Put interactions, and raw values before them, on the topic."""
    records = [traced(INTERACTIONS, b"acme/talk", value) for value in raw]
    for message in interactions:
        key = key_of(message.tenant_id, message.conversation_id)
        records.append(traced(INTERACTIONS, key, message.SerializeToString()))
    async with open_producer(bus) as producer:
        await producer.send(records)


async def until(condition, seconds=20):
    """Return what `condition` gives once it is true."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := await condition():
            return found
        await asyncio.sleep(0.1)
    raise TimeoutError(condition)


def published_ratings(bus, tenant_id, quiet_seconds=1.0):
    """Return a tenant's records on `ratings`, from the beginning until nothing comes."""
    consumer = KafkaConsumer(RATINGS, bootstrap_servers=bus, auto_offset_reset="earliest", group_id=None)
    try:
        found, last = [], time.monotonic()
        while time.monotonic() - last < quiet_seconds:
            for batch in consumer.poll(200).values():
                found += [events_pb2.RatingRecorded.FromString(record.value) for record in batch]
                last = time.monotonic()
        return [record for record in found if record.tenant_id == tenant_id]
    finally:
        consumer.close()
