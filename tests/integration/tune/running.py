"""The tune service as a process, and services beside it that answer from memory."""

import asyncio
import base64
import contextlib
import os
import signal
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

import grpc
import orjson
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tandem.feedback.v1 import feedback_service_pb2 as feedback_pb
from tandem.feedback.v1 import feedback_service_pb2_grpc as feedback_rpc
from tandem.retrieve.v1 import retrieve_service_pb2 as retrieve_pb
from tandem.retrieve.v1 import retrieve_service_pb2_grpc as retrieve_rpc
from tandem.retrieve.v1 import tuning_service_pb2 as tuning_pb
from tandem.retrieve.v1 import tuning_service_pb2_grpc as tuning_rpc
from tandem.tune.v1 import tuning_service_pb2 as pb
from tandem.tune.v1 import tuning_service_pb2_grpc as rpc

from services.common.access import EVERY_ROLE, Role
from services.common.client import open_channel
from services.common.errors import FailedPrecondition
from services.common.identity import METADATA_KEY, Identity, IdentitySigner, caller
from services.common.interceptors import RpcInterceptor, signed_by

KEY = "k" * 32
# Signs adapters: 32 bytes in base64.
SIGNING_KEY = base64.b64encode(b"s" * 32).decode()
START_SECONDS = 60
TRAINER = EVERY_ROLE - {Role.ADMIN}


def tenant():
    return f"tenant-{uuid.uuid4().hex}"


def called_by(tenant_id, subject="user:ada", roles=EVERY_ROLE):
    """Return the keyword arguments of a call made for somebody."""
    token = IdentitySigner(KEY.encode()).sign(Identity(tenant_id, subject, ("everyone", subject), roles))
    return {"metadata": ((METADATA_KEY, token),), "timeout": 20}


class TuningChanged(FailedPrecondition):
    reason = "TUNING_CHANGED"


class Neighbours(
    retrieve_rpc.RetrieveServiceServicer, tuning_rpc.TuningServiceServicer, feedback_rpc.FeedbackServiceServicer
):
    """Finds, of "question 7", passages of d7 first and of others behind; keeps tunings; exports ratings."""

    def __init__(self):
        self.tunings, self.searchers, self.ratings = {}, [], []
        # Of a chunk its document and text, and of a document its text.
        self.chunks, self.documents = {}, {}
        self.may_search = asyncio.Event()
        self.may_search.set()

    async def Retrieve(self, request, context):
        self.searchers.append(caller())
        await self.may_search.wait()
        number = request.query.rpartition(" ")[2]
        names = (f"d{number}", "x", "y", "z")
        passages = [
            retrieve_pb.Passage(
                chunk_id=f"{name}/{number}", document_id=name, text=f"{name} tells", score=1 / (1 + place)
            )
            for place, name in enumerate(names)
        ]
        return retrieve_pb.RetrieveResponse(passages=passages[: request.top_k])

    async def GetPassages(self, request, context):
        known = [(each, *self.chunks[each]) for each in request.chunk_ids if each in self.chunks]
        return retrieve_pb.GetPassagesResponse(
            passages=[retrieve_pb.Passage(chunk_id=each, document_id=name, text=text) for each, name, text in known]
        )

    async def GetDocuments(self, request, context):
        known = [(each, self.documents[each]) for each in request.document_ids if each in self.documents]
        return retrieve_pb.GetDocumentsResponse(
            passages=[
                retrieve_pb.Passage(
                    chunk_id=f"{name}/0",
                    document_id=name,
                    title=name,
                    text=text,
                    end_offset=len(text),
                    source_name="wiki",
                )
                for name, text in known
            ]
        )

    async def GetTuning(self, request, context):
        return tuning_pb.GetTuningResponse(tuning=self.tunings.get(caller().tenant_id, tuning_pb.Tuning()))

    async def PutTuning(self, request, context):
        live = self.tunings.get(caller().tenant_id, tuning_pb.Tuning())
        if request.expected_version != live.version:
            raise TuningChanged("the tuning is not what you have seen")
        made = tuning_pb.Tuning()
        made.CopyFrom(request.tuning)
        made.version = live.version + 1
        self.tunings[caller().tenant_id] = made
        return tuning_pb.PutTuningResponse(tuning=made)

    async def ExportRatings(self, request, context):
        for each in self.ratings:
            yield each

    def rate(self, number, thumb, subject="user:bob"):
        told = feedback_pb.ExportRatingsResponse()
        told.rating.thumb, told.rating.subject = thumb, subject
        told.interaction.question, told.interaction.subject = f"question {number}", "user:asker"
        for name in (f"d{number}", "x", "y"):
            told.interaction.passages.add(chunk_id=f"{name}/{number}", document_id=name, cited=name.startswith("d"))
        self.ratings.append(told)


@contextlib.asynccontextmanager
async def neighbours_at(address):
    neighbours = Neighbours()
    server = grpc.aio.server(interceptors=[RpcInterceptor(signed_by(IdentitySigner(KEY.encode()).verify))])
    retrieve_rpc.add_RetrieveServiceServicer_to_server(neighbours, server)
    tuning_rpc.add_TuningServiceServicer_to_server(neighbours, server)
    feedback_rpc.add_FeedbackServiceServicer_to_server(neighbours, server)
    server.add_insecure_port(address)
    await server.start()
    try:
        yield neighbours
    finally:
        neighbours.may_search.set()
        await server.stop(None)


@dataclass(frozen=True)
class Models:
    """What rerankers are trained from, and what adapters are trained for; None is the memory engine's."""

    embedding: Path
    language: Path | None


@dataclass(frozen=True)
class Addresses:
    """Where those are that the service asks: retrieve and feedback, the gate's engine, and the broker."""

    services: str
    engine: str
    bus: str


class Process:
    """`python -m services.tune`, started and killed at will."""

    def __init__(self, address, neighbours, database_url, folder, models):
        self.address, self.folder = address, folder
        self._environment = {
            "TANDEM_IDENTITY_KEY": KEY,
            "TUNE_ADDRESS": address,
            "TUNE_DATABASE_URL": database_url,
            "TUNE_BUS": neighbours.bus,
            "TUNE_BLOBS": str(folder / "blobs"),
            "TUNE_CACHE": str(folder / "cache"),
            "TUNE_RETRIEVE_ADDRESS": neighbours.services,
            "TUNE_FEEDBACK_ADDRESS": neighbours.services,
            "TUNE_GENERATE_ADDRESS": neighbours.engine,
            "TUNE_SIGNING_KEY": SIGNING_KEY,
            "TUNE_BASES": orjson.dumps({"tiny": str(models.embedding)}).decode(),
            "TUNE_MODELS": orjson.dumps({"Tiny-Llama": str(models.language)} if models.language else {}).decode(),
            "TUNE_THREADS": "1",
            "PYTHONPATH": os.pathsep.join((str(Path.cwd()), str(Path.cwd() / "gen"))),
        }
        self._process = None

    @property
    def pid(self):
        return self._process.pid

    def start(self):
        with (self.folder / "log").open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "services.tune"],
                env={**os.environ, **self._environment},
                stdout=output,
                stderr=output,
            )

    async def ready(self):
        deadline = time.monotonic() + START_SECONDS
        async with open_channel(self.address) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            while time.monotonic() < deadline:
                assert self._process.poll() is None, self.log()
                with contextlib.suppress(grpc.aio.AioRpcError):
                    answer = await health.Check(health_pb2.HealthCheckRequest(), timeout=1)
                    if answer.status == health_pb2.HealthCheckResponse.SERVING:
                        return
                await asyncio.sleep(0.1)
        raise TimeoutError(self.log())

    def stop(self, with_signal=signal.SIGTERM):
        self._process.send_signal(with_signal)
        return self._process.wait(30)

    def log(self):
        return (self.folder / "log").read_text()

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
        yield rpc.TuningServiceStub(channel)


def training_set(count=60, **fields):
    queries = [
        pb.TrainingQuery(query=f"question {number}", positives=[pb.Positive(document_id=f"d{number}")])
        for number in range(count)
    ]
    return pb.StartRerankerRunRequest(training_set=pb.TrainingSet(queries=queries), **fields)


async def until(stub, run_id, condition, **call):
    """Return the run once the condition holds for it."""
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        run = (await stub.GetRun(pb.GetRunRequest(run_id=run_id), **call)).run
        if condition(run):
            return run
        await asyncio.sleep(0.2)
    raise TimeoutError(run)


def ended(run):
    return run.state not in {pb.RUN_STATE_QUEUED, pb.RUN_STATE_RUNNING}
