"""A whole gateway over real gRPC, in this process, before services that do as they are told."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

import grpc
import pytest
from tandem.feedback.v1 import feedback_service_pb2 as feedback_pb
from tandem.feedback.v1 import feedback_service_pb2_grpc as feedback_rpc
from tandem.feedback.v1.events_pb2 import Interaction
from tandem.gateway.v1 import directory_service_pb2_grpc as directory_rpc
from tandem.gateway.v1 import gateway_service_pb2 as pb
from tandem.gateway.v1 import gateway_service_pb2_grpc as rpc
from tandem.generate.v1 import generate_service_pb2 as generate_pb
from tandem.generate.v1 import generate_service_pb2_grpc as generate_rpc
from tandem.ingest.v1 import ingest_service_pb2 as ingest_pb
from tandem.ingest.v1 import ingest_service_pb2_grpc as ingest_rpc
from tandem.retrieve.v1 import retrieve_service_pb2 as retrieve_pb
from tandem.retrieve.v1 import retrieve_service_pb2_grpc as retrieve_rpc

from services.common.access import EVERY_ROLE
from services.common.answer_ids import AnswerIds
from services.common.client import Outgoing, open_channel
from services.common.errors import NotFound, ResourceExhausted
from services.common.identity import Identity, IdentitySigner, caller, system
from services.common.interceptors import RpcInterceptor, signed_by
from services.common.placements import Placement
from services.common.quotas import UNLIMITED, Quotas, TenantQuotas
from services.common.recent import Recent
from services.common.settings import SHARED
from services.gateway.adapters.audit_writer import AuditWriter, Bounds
from services.gateway.adapters.engines import Engines
from services.gateway.adapters.issuer_keys import open_issuers
from services.gateway.adapters.memory import (
    MemoryApiKeys,
    MemoryAssistants,
    MemoryDirectory,
    MemoryInteractionLog,
)
from services.gateway.adapters.quotas import Meter, open_storage
from services.gateway.adapters.services import Channels, Limits, Services
from services.gateway.checking import Checks
from services.gateway.domain.audit import AuditEvent
from services.gateway.domain.keys import KeyMaker, KeyTerms
from services.gateway.domain.tokens import Issuer
from services.gateway.ports import InteractionLog
from services.gateway.servicer.access import AccessServicer
from services.gateway.servicer.answers import GatewayServicer, Methods, Oversight, Recording
from services.gateway.servicer.assistants import AssistantServicer
from services.gateway.servicer.authentication import Authentication, Keys, Tokens
from services.gateway.servicer.directory import DirectoryServicer
from services.gateway.servicer.forwarder import Forwarder
from services.gateway.servicer.rewriting import Rewriter
from services.gateway.servicer.witness import Witness

PLATFORM_KEY = b"k" * 32
CACHE_SECONDS = 0.2
LIMIT_SECONDS = 10.0


class EngineBusy(ResourceExhausted):
    reason = "ENGINE_BUSY"
    retry_seconds = 2.0


class ConversationNotFound(NotFound):
    reason = "CONVERSATION_NOT_FOUND"


@dataclass
class Behind(
    retrieve_rpc.RetrieveServiceServicer,
    generate_rpc.GenerateServiceServicer,
    generate_rpc.AdapterServiceServicer,
    feedback_rpc.FeedbackServiceServicer,
    ingest_rpc.IngestServiceServicer,
):
    """Every service behind the gateway: says what it was told to, and keeps what it was asked."""

    passages: list[retrieve_pb.Passage] = field(default_factory=list)
    turns: list[Interaction] | None = field(default_factory=list)
    rewrite: Sequence[str] = ()
    pieces: Sequence[str] = ("Returns are accepted ", "within 30 days.")
    passage_indexes: Sequence[int] | None = None
    most_turns: int = 10
    error: Exception | None = None
    # What Started says of who answers, and what ends the stream in the middle.
    serving: dict[str, object] = field(default_factory=dict)
    breaks: Exception | None = None
    finishes: bool = True
    hangs: bool = False
    requests: list[object] = field(default_factory=list)
    callers: list[Identity] = field(default_factory=list)
    metadata: list[dict[str, str | bytes]] = field(default_factory=list)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    deleting: asyncio.Event = field(default_factory=asyncio.Event)

    def _asked(self, request: object, context: grpc.aio.ServicerContext) -> None:
        self.requests.append(request)
        self.callers.append(caller())
        self.metadata.append(dict(context.invocation_metadata() or ()))

    async def Retrieve(self, request, context):
        self._asked(request, context)
        return retrieve_pb.RetrieveResponse(passages=self.passages, index_version="v1", model="m")

    async def Generate(self, request, context):
        self._asked(request, context)
        used = range(len(request.passages)) if self.passage_indexes is None else self.passage_indexes
        if request.instructions.startswith("Rewrite"):
            async for event in self._rewritten():
                yield event
            return
        if self.error:
            raise self.error
        started = generate_pb.Started(
            prompt="the prompt",
            prompt_tokens=9,
            passages_used=len(used),
            passage_indexes=used,
            turns_used=min(len(request.history), self.most_turns),
            model="fake",
            **self.serving,
        )
        try:
            yield generate_pb.GenerateResponse(started=started)
            for piece in self.pieces:
                yield generate_pb.GenerateResponse(delta=generate_pb.Delta(text=piece, tokens=2))
            await self._mishap()
        except (asyncio.CancelledError, GeneratorExit):
            self.cancelled.set()
            raise
        if self.finishes:
            finished = generate_pb.Finished(reason=generate_pb.FINISH_REASON_STOP, completion_tokens=4)
            yield generate_pb.GenerateResponse(finished=finished)

    async def _mishap(self) -> None:
        if self.breaks:
            raise self.breaks
        if self.hangs:
            await asyncio.sleep(60)

    async def _rewritten(self) -> AsyncIterator[generate_pb.GenerateResponse]:
        """Say what `rewrite` has, or hang where it has nothing."""
        yield generate_pb.GenerateResponse(started=generate_pb.Started(prompt_tokens=20))
        for piece in self.rewrite:
            yield generate_pb.GenerateResponse(delta=generate_pb.Delta(text=piece, tokens=1))
        if not self.rewrite:
            await asyncio.sleep(60)
        yield generate_pb.GenerateResponse(finished=generate_pb.Finished(reason=generate_pb.FINISH_REASON_STOP))

    async def GetConversation(self, request, context):
        self._asked(request, context)
        if self.turns is None:
            raise ConversationNotFound("no such conversation")
        return feedback_pb.GetConversationResponse(interactions=self.turns)

    async def Rate(self, request, context):
        self._asked(request, context)
        return feedback_pb.RateResponse(rating=feedback_pb.Rating(rating_id="r1"))

    async def ExportRatings(self, request, context):
        self._asked(request, context)
        for number in range(3):
            yield feedback_pb.ExportRatingsResponse(rating=feedback_pb.Rating(rating_id=f"r{number}"))
        if self.hangs:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                self.cancelled.set()
                raise

    async def DeleteSource(self, request, context):
        """It never ends."""
        self.deleting.set()
        await asyncio.sleep(60)

    async def GetSource(self, request, context):
        self._asked(request, context)
        if self.error:
            raise self.error
        return ingest_pb.GetSourceResponse(source=ingest_pb.Source(name="docs"))


class Ledger:
    """An audit log in a list, which may be away."""

    def __init__(self) -> None:
        self.events: list[AuditEvent] = []
        self.fault: Exception | None = None

    async def write(self, events: Sequence[AuditEvent]) -> None:
        if self.fault:
            raise self.fault
        self.events.extend(events)


@dataclass
class Watching:
    """What a gateway is started with beside its stores: quotas, and where its audit log goes."""

    ledger: Ledger = field(default_factory=Ledger)
    quotas: TenantQuotas = field(default_factory=TenantQuotas)
    key_quotas: dict[str, Quotas] = field(default_factory=dict)
    bounds: Bounds = field(default_factory=Bounds)
    now: Callable[[], float] = time.time

    async def of_key(self, key_id: str) -> Quotas:
        return self.key_quotas.get(key_id, UNLIMITED)


@dataclass
class Gateway:
    """The running gateway, what it keeps, and a client's way in."""

    channel: grpc.aio.Channel
    maker: KeyMaker
    keys: MemoryApiKeys
    assistants: MemoryAssistants
    behind: Behind
    directory: MemoryDirectory

    @property
    def asking(self) -> "rpc.GatewayServiceAsyncStub":
        return rpc.GatewayServiceStub(self.channel)

    @property
    def access(self) -> "rpc.AccessServiceAsyncStub":
        return rpc.AccessServiceStub(self.channel)

    @property
    def people(self) -> "directory_rpc.DirectoryServiceAsyncStub":
        return directory_rpc.DirectoryServiceStub(self.channel)

    async def key(self, tenant: str = "acme", **terms: object) -> str:
        """Make a key, that may do everything but speak for users, and return its credential."""
        new = self.maker.make()
        await self.keys.create(system(tenant, "test"), KeyTerms(**{"name": "test", "roles": EVERY_ROLE, **terms}), new)
        return new.credential

    async def whoami(self, metadata: tuple[tuple[str, str], ...]) -> pb.GetCallerResponse:
        return await self.access.GetCaller(pb.GetCallerRequest(), metadata=metadata)

    async def signed_in(self, tenant: str = "acme") -> tuple[tuple[str, str], ...]:
        """Return the metadata of a new key of this tenant."""
        return bearer(await self.key(tenant))

    async def events(self, **request: object) -> list[pb.AskResponse]:
        """Ask as a new key of acme and return every event."""
        request.setdefault("question", "When can I return it?")
        return [event async for event in self.asking.Ask(pb.AskRequest(**request), metadata=await self.signed_in())]


StartGateway = Callable[..., "contextlib.AbstractAsyncContextManager[Gateway]"]


def bearer(credential: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {credential}"),)


@contextlib.asynccontextmanager
async def _serving(server: grpc.aio.Server) -> AsyncIterator[str]:
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


@contextlib.asynccontextmanager
async def _behind(behind: Behind) -> AsyncIterator[str]:
    server = grpc.aio.server(interceptors=[RpcInterceptor(signed_by(IdentitySigner(PLATFORM_KEY).verify))])
    retrieve_rpc.add_RetrieveServiceServicer_to_server(behind, server)
    generate_rpc.add_GenerateServiceServicer_to_server(behind, server)
    generate_rpc.add_AdapterServiceServicer_to_server(behind, server)
    feedback_rpc.add_FeedbackServiceServicer_to_server(behind, server)
    ingest_rpc.add_IngestServiceServicer_to_server(behind, server)
    async with _serving(server) as address:
        yield address


class Settled:
    """Says that every tenant is in the shared place."""

    async def of(self, identity: Identity) -> Placement:
        return Placement()


@contextlib.asynccontextmanager
async def start_gateway(
    behind: Behind,
    log: InteractionLog,
    *,
    address: str = "",
    record_seconds: float = LIMIT_SECONDS,
    rewrite_seconds: float = 0,
    issuers: Sequence[Issuer] = (),
    watching: Watching | None = None,
    checks: Checks | None = None,
) -> AsyncIterator[Gateway]:
    """Run a gateway before `behind`, or before whatever is at `address`."""
    watching = watching or Watching()
    writer = AuditWriter(watching.ledger.write, watching.bounds)
    witness = Witness(writer)
    meter = Meter(open_storage("async+memory://"), watching.quotas, watching.of_key, watching.now)
    keys, assistants, maker = MemoryApiKeys(), MemoryAssistants(), KeyMaker(PLATFORM_KEY)
    directory = MemoryDirectory()
    people = Recent(directory.expand, CACHE_SECONDS)
    recent_keys = Recent(keys.find, CACHE_SECONDS)
    recent_assistants = Recent(lambda wanted: assistants.find(system(wanted[0], "test"), wanted[1]), CACHE_SECONDS)
    outgoing = Outgoing(IdentitySigner(PLATFORM_KEY))
    async with contextlib.AsyncExitStack() as stack:
        there = address or await stack.enter_async_context(_behind(behind))
        channel = await stack.enter_async_context(open_channel(there))
        channels = Channels(channel, channel, Engines({SHARED: channel}, Settled()), channel, channel, channel)
        services = Services(channels, outgoing, Limits(LIMIT_SECONDS, LIMIT_SECONDS, LIMIT_SECONDS))
        tokens = Tokens(await stack.enter_async_context(open_issuers(issuers)), CACHE_SECONDS)
        authentication = Authentication(Keys(maker, recent_keys), tokens, people)
        server = grpc.aio.server(interceptors=[RpcInterceptor(authentication, witness)])
        recording = Recording(log, record_seconds, AnswerIds(PLATFORM_KEY))
        rewriter = Rewriter(services, by_model=rewrite_seconds > 0, seconds=rewrite_seconds)
        methods = Methods(rewriter, checks or Checks())
        gateway = GatewayServicer(services, recent_assistants, methods, recording, Oversight(meter, witness))
        rpc.add_GatewayServiceServicer_to_server(gateway, server)
        rpc.add_AccessServiceServicer_to_server(AccessServicer(keys, maker, recent_keys.forget), server)
        rpc.add_AssistantServiceServicer_to_server(AssistantServicer(assistants, recent_assistants), server)
        directory_rpc.add_DirectoryServiceServicer_to_server(DirectoryServicer(directory, people), server)
        server.add_generic_rpc_handlers(tuple(Forwarder(outgoing, LIMIT_SECONDS).handlers(channels)))
        stack.push_async_callback(_ended, asyncio.create_task(writer.run()))
        way_in = await stack.enter_async_context(_serving(server))
        client = await stack.enter_async_context(grpc.aio.insecure_channel(way_in))
        yield Gateway(client, maker, keys, assistants, behind, directory)


async def _ended(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def behind() -> Behind:
    return Behind(
        passages=[
            retrieve_pb.Passage(chunk_id="c1", title="Shipping", text="We ship in 3 days. Orders above 50 ship free."),
            retrieve_pb.Passage(
                chunk_id="c2", title="Returns", text="Returns are accepted within 30 days. Keep the box.", score=0.5
            ),
        ]
    )


@pytest.fixture
def log() -> MemoryInteractionLog:
    return MemoryInteractionLog()


@pytest.fixture
def starting() -> StartGateway:
    """How to start a gateway otherwise than `gateway` does."""
    return start_gateway


@pytest.fixture
async def gateway(behind: Behind, log: MemoryInteractionLog) -> AsyncIterator[Gateway]:
    async with start_gateway(behind, log) as running:
        yield running
