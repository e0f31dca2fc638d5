"""A platform of its own for the benchmarks: started by the `tandem` command, called by gRPC."""

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from tandem.gateway.v1 import gateway_service_pb2 as pb
from tandem.gateway.v1 import gateway_service_pb2_grpc as rpc
from tandem.ingest.v1 import ingest_service_pb2 as ingest_pb
from tandem.ingest.v1 import ingest_service_pb2_grpc as ingest_rpc

# More than `tandem up` waits itself.
START_SECONDS = 660
INDEX_SECONDS = 900
POLL_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Platform:
    """A running platform: its gateway's address, and the metadata with the first key."""

    home: Path
    address: str
    milvus_uri: str
    embed: str
    metadata: tuple[tuple[str, str], ...]
    gateway: rpc.GatewayServiceStub
    assistants: rpc.AssistantServiceStub
    ingest: ingest_rpc.IngestServiceStub
    broker: str
    # Where each unit shows its metrics.
    metrics: Mapping[str, str]

    async def put_assistant(self, name: str, **fields: Any) -> None:
        request = pb.PutAssistantRequest(assistant=pb.Assistant(name=name, **fields))
        await self.assistants.PutAssistant(request, metadata=self.metadata)

    async def add_folder(self, folder: Path, *, watch: bool) -> tuple[int, int]:
        """Add a folder and wait until all of it is indexed; return documents and chunks."""
        config = ingest_pb.FilesConfig(path=str(folder), watch=watch)
        request = ingest_pb.CreateSourceRequest(name=folder.name, kind="files", files=config, readers=["everyone"])
        await self.ingest.CreateSource(request, metadata=self.metadata)
        return await self.until_indexed(folder.name, sum(1 for each in folder.rglob("*") if each.is_file()))

    async def until_indexed(self, source: str, files: int, seconds: float = INDEX_SECONDS) -> tuple[int, int]:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            answer = await self.ingest.GetSource(ingest_pb.GetSourceRequest(source=source), metadata=self.metadata)
            counts = answer.source.counts
            if counts.indexed + counts.failed >= files and not counts.pending:
                return counts.indexed, counts.chunks
            await asyncio.sleep(POLL_SECONDS)
        raise TimeoutError(source)


@contextlib.asynccontextmanager
async def running(home: Path, engine: str, environment: Mapping[str, str] | None = None) -> AsyncIterator[Platform]:
    """Start a platform with `engine` ("vllm" or "memory") in `home`, with settings of its own; stop it at the end."""
    up = ("up", "--detach", "--engine", engine, "--free-ports")
    try:
        started = await asyncio.to_thread(tandem, home, *up, environment=environment)
        secret = json.loads((home / "credentials.json").read_text())["secret"]
        async with grpc.aio.insecure_channel(started["gateway"]) as channel:
            yield Platform(
                home,
                started["gateway"],
                f"http://{_address_of(started, 'milvus')}",
                _address_of(started, "embed"),
                (("authorization", f"Bearer {secret}"),),
                rpc.GatewayServiceStub(channel),
                rpc.AssistantServiceStub(channel),
                ingest_rpc.IngestServiceStub(channel),
                _address_of(started, "broker"),
                {unit["name"]: unit["metrics_address"] for unit in started["units"] if unit.get("metrics_address")},
            )
    finally:
        await asyncio.to_thread(tandem, home, "down")


def _address_of(started: Any, unit: str) -> str:
    return next(str(each["address"]) for each in started["units"] if each["name"] == unit)


def tandem(
    home: Path, *arguments: str, environment: Mapping[str, str] | None = None, seconds: float = START_SECONDS
) -> Any:
    """Return what a verb prints for programs: of a stream, its last line."""
    command = [sys.executable, "-m", "services.cli", *arguments, "--home", str(home), "--json"]
    own = {**os.environ, **(environment or {})}
    done = subprocess.run(command, check=False, timeout=seconds, capture_output=True, env=own)
    if done.returncode:
        # The last lines say why; they are for who runs the benchmark.
        raise RuntimeError(f"tandem {arguments[0]} failed: {(done.stdout + done.stderr).decode()[-2000:]}")
    try:
        return json.loads(done.stdout)
    except json.JSONDecodeError:
        return json.loads(done.stdout.splitlines()[-1])


def free_address() -> str:
    """Return a loopback address that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def wait_for_port(address: str) -> None:
    """Wait until somebody listens on `address`."""
    host, _, port = address.rpartition(":")
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=1):
            return
        time.sleep(0.05)
    raise TimeoutError(address)
