"""The gateway as its own process, on the real broker and database, before an engine in this one."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tandem.generate.v1 import generate_service_pb2 as generate_pb
from tandem.generate.v1 import generate_service_pb2_grpc as generate_rpc
from tandem.retrieve.v1 import retrieve_service_pb2 as retrieve_pb
from tandem.retrieve.v1 import retrieve_service_pb2_grpc as retrieve_rpc

from services.cli.parts import Command
from services.common.identity import IdentitySigner
from services.common.interceptors import RpcInterceptor, signed_by
from tests.conftest import free_address, running
from tests.manifest import migrate

PLATFORM_KEY = "integration-" + "k" * 32
READY_SECONDS = 30.0


class Engine(retrieve_rpc.RetrieveServiceServicer, generate_rpc.GenerateServiceServicer):
    """Finds one passage, and says it."""

    text = "Returns are accepted within 30 days."

    async def Retrieve(self, request, context):
        return retrieve_pb.RetrieveResponse(passages=[retrieve_pb.Passage(chunk_id="c1", text=self.text)])

    async def Generate(self, request, context):
        started = generate_pb.Started(prompt="the prompt", passages_used=len(request.passages), model="fake")
        yield generate_pb.GenerateResponse(started=started)
        yield generate_pb.GenerateResponse(delta=generate_pb.Delta(text=self.text, tokens=8))
        finished = generate_pb.Finished(reason=generate_pb.FINISH_REASON_STOP, completion_tokens=8)
        yield generate_pb.GenerateResponse(finished=finished)


@dataclass(frozen=True, slots=True)
class Deployment:
    """What the processes of one gateway deployment share."""

    environment: dict[str, str]
    log: Path

    def bootstrap(self, tenant: str = "acme", name: str = "test", *options: str) -> str:
        """Make a key by the command line and return its credential."""
        command = (sys.executable, "-m", "services.gateway.bootstrap", "--tenant", tenant, "--name", name, *options)
        done = subprocess.run(
            command, env={**os.environ, **self.environment}, capture_output=True, text=True, check=True
        )
        (line,) = done.stdout.splitlines()
        return json.loads(line)["secret"]

    @contextlib.contextmanager
    def replica(self, **environment: str) -> Iterator[str]:
        """Run a gateway and give its address."""
        address = free_address()
        own = {**self.environment, "GATEWAY_ADDRESS": address, **environment}
        with running(Command("gateway", (sys.executable, "-m", "services.gateway"), own), self.log):
            yield address


async def until_serving(channel: grpc.aio.Channel) -> None:
    health = health_pb2_grpc.HealthStub(channel)
    async with asyncio.timeout(READY_SECONDS):
        while True:
            with contextlib.suppress(grpc.aio.AioRpcError):
                answer = await health.Check(health_pb2.HealthCheckRequest(), wait_for_ready=True)
                if answer.status == health_pb2.HealthCheckResponse.SERVING:
                    return
            await asyncio.sleep(0.05)


@pytest.fixture
async def engine() -> AsyncIterator[str]:
    """The address of an engine that answers at once."""
    server = grpc.aio.server(interceptors=[RpcInterceptor(signed_by(IdentitySigner(PLATFORM_KEY.encode()).verify))])
    retrieve_rpc.add_RetrieveServiceServicer_to_server(Engine(), server)
    generate_rpc.add_GenerateServiceServicer_to_server(Engine(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield f"127.0.0.1:{port}"
    await server.stop(None)


@pytest.fixture
async def placements_url(database_url: str) -> str:
    """The database, with ingest's placements in it."""
    await migrate(database_url)
    return database_url


@pytest.fixture
def deployment(placements_url: str, bus: str, engine: str, tmp_path: Path) -> Deployment:
    root = Path(__file__).parents[3]
    environment = {
        "PYTHONPATH": os.pathsep.join((str(root), str(root / "gen"))),
        "TANDEM_IDENTITY_KEY": PLATFORM_KEY,
        "GATEWAY_DATABASE_URL": placements_url,
        "GATEWAY_BUS": bus,
        "GATEWAY_METRICS_ADDRESS": "127.0.0.1:0",
        **{
            f"GATEWAY_{name}_ADDRESS": engine
            for name in ("INGEST", "EMBED", "RETRIEVE", "GENERATE", "FEEDBACK", "TUNE")
        },
    }
    return Deployment(environment, tmp_path / "gateway.log")
