"""A generate service before the memory engine, called as the gateway calls it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import grpc
from google.rpc import error_details_pb2, status_pb2
from tandem.erasure.v1 import erasure_service_pb2 as erasure_pb
from tandem.erasure.v1 import erasure_service_pb2_grpc as erasure_rpc
from tandem.generate.v1 import generate_service_pb2 as pb
from tandem.generate.v1 import generate_service_pb2_grpc as pb_grpc

from services.common.access import EVERY_ROLE
from services.common.client import open_channel
from services.common.identity import METADATA_KEY, Identity, IdentitySigner
from services.common.interceptors import DETAILS_KEY, signed_by
from services.common.prompts.prompt import PromptPacker
from services.common.server import Service, serve
from services.generate.__main__ import Registry
from services.generate.adapters.files import AdapterFiles
from services.generate.adapters.memory import MemoryEngine, MemoryErasedPeople, NoReadership, WordTokenizer
from services.generate.admission import Admission
from services.generate.aliases import Aliases
from services.generate.answers import Adapters, Answers
from services.generate.erasure import Erasure, Files
from services.generate.lineages import Lineages
from services.generate.scoring import Model, Scores
from services.generate.servicer import (
    ADAPTERS,
    ERASURE,
    GENERATE,
    AdapterServicer,
    ErasureServicer,
    GenerateServicer,
    register,
)
from services.generate.shelf import AdapterShelf
from tests.unit.generate.adapters import BASE

KEY = b"k" * 32
NO_REGISTRY = Registry()
ADA = Identity("acme", "user:ada", ("everyone", "user:ada"), EVERY_ROLE)
BOB = Identity("other", "user:bob", ("everyone", "user:bob"), EVERY_ROLE)


@dataclass
class Client:
    """Calls as one identity."""

    channel: grpc.aio.Channel
    identity: Identity | None = ADA

    @property
    def metadata(self):
        return ((METADATA_KEY, IdentitySigner(KEY).sign(self.identity)),) if self.identity else ()

    def generate(self, question="When is it open?", timeout=30, **fields):
        stub = pb_grpc.GenerateServiceStub(self.channel)
        return stub.Generate(pb.GenerateRequest(question=question, **fields), metadata=self.metadata, timeout=timeout)

    async def answer(self, *args, **fields) -> list[pb.GenerateResponse]:
        return [response async for response in self.generate(*args, **fields)]

    async def load(self, name, uri, cleared=False):
        stub = pb_grpc.AdapterServiceStub(self.channel)
        request = pb.LoadAdapterRequest(name=name, uri=str(uri), cleared=cleared)
        return (await stub.LoadAdapter(request, metadata=self.metadata, timeout=30)).adapter

    async def score(self, completions, question="When is it open?", **fields):
        prompt = pb.GenerateRequest(question=question, **fields)
        request = pb.ScoreRequest(prompt=prompt, completions=completions)
        return await pb_grpc.GenerateServiceStub(self.channel).Score(request, metadata=self.metadata, timeout=30)

    async def unload(self, name):
        stub = pb_grpc.AdapterServiceStub(self.channel)
        await stub.UnloadAdapter(pb.UnloadAdapterRequest(name=name), metadata=self.metadata, timeout=30)

    async def list(self, size=0, token=""):
        stub = pb_grpc.AdapterServiceStub(self.channel)
        request = pb.ListAdaptersRequest(page_size=size, page_token=token)
        return await stub.ListAdapters(request, metadata=self.metadata, timeout=30)

    async def erase(self, **scope):
        stub = erasure_rpc.ErasureServiceStub(self.channel)
        return await stub.Erase(erasure_pb.EraseRequest(**scope), metadata=self.metadata, timeout=30)


@dataclass
class Running:
    """A service in this process."""

    channel: grpc.aio.Channel
    engine: MemoryEngine
    admission: Admission
    served: asyncio.Task[None]

    def client(self, identity: Identity | None = ADA) -> Client:
        return Client(self.channel, identity)


@contextlib.asynccontextmanager
async def generate_service(
    engine: MemoryEngine,
    cache,
    *,
    max_running=2,
    max_waiting=2,
    permissions=None,
    following=None,
    base=BASE,
    key=KEY,
    address="127.0.0.1:0",
) -> AsyncIterator[Running]:
    admission = Admission(max_running, max_waiting)
    files = AdapterFiles(cache, base, ("file",))
    readership, people = permissions or (NoReadership(), MemoryErasedPeople())
    adapters = Adapters(AdapterShelf(engine, files.fetch, capacity=8), Aliases(), Lineages(readership, people))
    packer = PromptPacker(WordTokenizer(), 2048)
    answers = Answers(engine, packer, admission, adapters, salt_key=key)
    scores = Scores(engine, Model(packer, WordTokenizer(), 2048), admission, adapters)
    registry = following(engine, adapters, cache) if following else NO_REGISTRY
    erasure = Erasure(engine, adapters, people, Files(registry.forget, (files.remove, *registry.removes)))
    port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()
    service = Service(
        address=address,
        metrics_address="127.0.0.1:0",
        authenticate=signed_by(IdentitySigner(key).verify),
        register=register(
            GenerateServicer(answers, scores, base.name, 1024), AdapterServicer(adapters), ErasureServicer(erasure)
        ),
        names=(GENERATE, ADAPTERS, ERASURE),
        pings=(engine.ping, *registry.pings),
        tasks=(engine.until_dead, adapters.shelf.remove_retired, *registry.tasks),
        started=port.set_result,
    )
    served = asyncio.create_task(serve(service, stop))
    async with open_channel(f"127.0.0.1:{await port}") as channel:
        try:
            yield Running(channel, engine, admission, served)
        finally:
            stop.set()
            await asyncio.gather(served, return_exceptions=True)


def details_of(error: grpc.aio.AioRpcError) -> tuple[grpc.StatusCode, str, float | None]:
    """Return the error's code, its reason, and after how long to try again."""
    reason, retry = "", None
    for key, value in error.trailing_metadata() or ():
        if key == DETAILS_KEY:
            for detail in status_pb2.Status.FromString(value).details:
                info, delay = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
                if detail.Unpack(info):
                    reason = info.reason
                if detail.Unpack(delay):
                    retry = delay.retry_delay.ToTimedelta().total_seconds()
    return error.code(), reason, retry
