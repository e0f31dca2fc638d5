"""A real ingest service as a process, and a stand-in for `embed` on the real event log."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2, status_pb2
from kafka import KafkaConsumer, TopicPartition
from tandem.embed.v1 import events_pb2 as embed_pb
from tandem.ingest.v1 import events_pb2
from tandem.ingest.v1 import ingest_service_pb2 as pb
from tandem.ingest.v1 import ingest_service_pb2_grpc as rpc

from services.common.access import EVERY_ROLE
from services.common.bus import DOCUMENTS_CHANGED, DOCUMENTS_INDEXED, PARTITIONS, Producer, key_of, traced
from services.common.identity import METADATA_KEY, Identity, IdentitySigner
from services.common.interceptors import DETAILS_KEY
from tests.conftest import free_address

KEY = "k" * 32
WAIT_SECONDS = 45


def create_database(url: str) -> str:
    """Create an empty database beside the one at `url` and return its URL."""
    name = f"ingest_{uuid.uuid4().hex[:8]}"

    async def create() -> None:
        connection = await asyncpg.connect(url.replace("+asyncpg", ""))
        await connection.execute(f"CREATE DATABASE {name}")
        await connection.close()

    asyncio.run(create())
    return url.replace("/postgres?", f"/{name}?")


class IngestProcess:
    """One `python -m services.ingest`, to be started, killed and started again."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.address = free_address()
        self.log = folder / "ingest.log"
        self.blobs = folder / "blobs"
        self._environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([".", "gen"]),
            "TANDEM_IDENTITY_KEY": KEY,
            "INGEST_ADDRESS": self.address,
            "INGEST_METRICS_ADDRESS": free_address(),
            "INGEST_BLOBS": str(self.blobs),
            "INGEST_EMBED_ADDRESS": free_address(),
            **environment,
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def metrics_address(self) -> str:
        return self._environment["INGEST_METRICS_ADDRESS"]

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "services.ingest"], env=self._environment, stdout=log, stderr=log
            )

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        assert self._process is not None
        self._process.send_signal(how)
        return self._process.wait(20)

    def kill(self) -> None:
        self.stop(signal.SIGKILL)


class Client:
    """Calls ingest as one caller of one tenant."""

    def __init__(self, address: str, tenant_id: str, subject: str = "key:1") -> None:
        options = {
            "grpc.max_send_message_length": 64 << 20,
            "grpc.initial_reconnect_backoff_ms": 100,
            "grpc.max_reconnect_backoff_ms": 200,
            # A new client must not be given the connection of an older one to a service that was killed since.
            "grpc.use_local_subchannel_pool": 1,
        }
        self._channel = grpc.insecure_channel(address, options=list(options.items()))
        self._stub = rpc.IngestServiceStub(self._channel)
        self._signer = IdentitySigner(KEY.encode())
        self.tenant_id = tenant_id
        self._identity = Identity(tenant_id, subject, (subject, "everyone"), EVERY_ROLE)

    def __call__(self, request: Any) -> Any:
        method = getattr(self._stub, type(request).__name__.removesuffix("Request"))
        metadata = ((METADATA_KEY, self._signer.sign(self._identity)),)
        return method(request, metadata=metadata, timeout=WAIT_SECONDS, wait_for_ready=True)

    def without_identity(self, request: Any) -> Any:
        method = getattr(self._stub, type(request).__name__.removesuffix("Request"))
        return method(request, timeout=WAIT_SECONDS, wait_for_ready=True)

    def files(self, path: Path, name: str = "docs", **config: Any) -> pb.Source:
        config = {"path": str(path), **config}
        return self(pb.CreateSourceRequest(name=name, kind="files", files=pb.FilesConfig(**config))).source

    def sync(self, source: str = "docs") -> dict[str, int]:
        answer = self(pb.SyncSourceRequest(source=source))
        return {field.name: value for field, value in answer.ListFields()}

    def source(self, name: str = "docs") -> pb.Source:
        return self(pb.GetSourceRequest(source=name)).source

    def documents(self, name: str = "") -> dict[str, pb.Document]:
        found = self(pb.ListDocumentsRequest(source=name, page_size=500)).documents
        return {document.external_id: document for document in found}


def failure_of(call: Callable[[], Any]) -> tuple[grpc.StatusCode, str]:
    """Return the code and the reason with which a call fails."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    details = {key: value for key, value in caught.value.trailing_metadata() if key == DETAILS_KEY}
    info = error_details_pb2.ErrorInfo()
    if details:
        status_pb2.Status.FromString(details[DETAILS_KEY]).details[0].Unpack(info)
    return caught.value.code(), info.reason


def eventually(condition: Callable[[], Any], what: str = "") -> Any:
    """Return what `condition` gives once that is true."""
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError(what or "it never became true")


class Index:
    """Stands in for `embed`: sees every change of one tenant, and answers as it is told."""

    def __init__(self, bootstrap: str, tenant_id: str) -> None:
        self._bootstrap = bootstrap
        self._tenant_id = tenant_id
        self._consumer = self._assigned()
        self.seen: list[events_pb2.DocumentChanged] = []

    def _assigned(self) -> KafkaConsumer:
        consumer = KafkaConsumer(bootstrap_servers=self._bootstrap, auto_offset_reset="earliest")
        consumer.assign([TopicPartition(DOCUMENTS_CHANGED, number) for number in range(PARTITIONS[DOCUMENTS_CHANGED])])
        return consumer

    def forget(self) -> None:
        """Begin again, on a broker that lost everything."""
        self._consumer.close()
        self._consumer = self._assigned()
        self.seen = []

    def close(self) -> None:
        self._consumer.close()

    def poll(self) -> list[events_pb2.DocumentChanged]:
        """Return the changes that came since the last call."""
        raw = [item for batch in self._consumer.poll(100).values() for item in batch]
        changes = [events_pb2.DocumentChanged.FromString(item.value) for item in raw]
        mine = [change for change in changes if change.tenant_id == self._tenant_id]
        self.seen += mine
        return mine

    def wait(self, count: int) -> list[events_pb2.DocumentChanged]:
        """Return all changes, by version (partitions come in any order), once there are at least `count`."""
        eventually(lambda: self.poll() is not None and len(self.seen) >= count, f"{len(self.seen)} of {count} changes")
        return sorted(self.seen, key=lambda change: change.version)

    def answer(self, *changes: events_pb2.DocumentChanged, failed: str = "", chunks: int = 3) -> None:
        """Report each change as indexed (or removed), or as failed."""
        asyncio.run(self._send([self._report(change, failed, chunks) for change in changes]))

    def answer_until(self, done: Callable[[], Any]) -> None:
        """Answer everything that comes until `done`."""

        def step() -> Any:
            if changes := self.poll():
                self.answer(*changes)
            return done()

        eventually(step)

    def _report(self, change: events_pb2.DocumentChanged, failed: str, chunks: int) -> embed_pb.DocumentIndexed:
        finished_at = Timestamp()
        finished_at.GetCurrentTime()
        report = embed_pb.DocumentIndexed(
            tenant_id=change.tenant_id,
            document_id=change.document_id,
            version=change.version,
            finished_at=finished_at,
        )
        if failed:
            report.failed.CopyFrom(embed_pb.Failed(reason=failed, message="for a test"))
        elif change.deleted:
            report.deleted.SetInParent()
        else:
            report.indexed.CopyFrom(embed_pb.Indexed(chunk_count=chunks, embedded_count=chunks))
        return report

    async def _send(self, reports: list[embed_pb.DocumentIndexed]) -> None:
        producer = Producer(self._bootstrap)
        await producer.start()
        try:
            await producer.send(
                [
                    traced(DOCUMENTS_INDEXED, key_of(report.tenant_id, report.document_id), report.SerializeToString())
                    for report in reports
                ]
            )
        finally:
            await producer.stop()


@pytest.fixture(scope="session")
def ingest(tmp_path_factory, database_url, bus) -> Iterator[IngestProcess]:
    """A running service, on a database of its own."""
    environment = {
        "INGEST_DATABASE_URL": create_database(database_url),
        "INGEST_BUS": bus,
        "INGEST_MAX_DOCUMENT_BYTES": "100000",
        # Only what a test asks for is published.
        "INGEST_REPUBLISH_SECONDS": "600",
    }
    process = IngestProcess(tmp_path_factory.mktemp("ingest"), environment)
    process.start()
    yield process
    assert process.stop() == 0, process.log.read_text()[-3000:]


@pytest.fixture
def tenant() -> str:
    return f"t-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def client(ingest, tenant) -> Iterator[Client]:
    client = Client(ingest.address, tenant)
    yield client
    for source in client(pb.ListSourcesRequest()).sources:
        with contextlib.suppress(grpc.RpcError):
            client(pb.PauseSourceRequest(source=source.source_id))


@pytest.fixture
def index(client, bus, tenant) -> Iterator[Index]:
    client(pb.ListSourcesRequest())  # the service is up
    index = Index(bus, tenant)
    yield index
    index.close()


@pytest.fixture
def folder(tmp_path) -> Path:
    found = tmp_path / "docs"
    found.mkdir()
    return found
