"""A gateway and a retrieval that let everybody read everything: what a search costs without any check.

Run as `python -m bench.unchecked gateway ADDRESS RETRIEVE DATABASE` or `retrieve ADDRESS EMBED MILVUS`, with
TANDEM_IDENTITY_KEY. The code is the platform's, but for its authentication, its filter over
principals, and its look into the manifest; quotas and the audit log are there.
"""

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Collection, Iterator

import grpc
import uvloop
from tandem.gateway.v1 import gateway_service_pb2_grpc as rpc
from tandem.retrieve.v1 import retrieve_service_pb2_grpc as retrieve_rpc

from bench.platform import Platform, free_address, wait_for_port
from services.cli import postgres
from services.cli.home import Home
from services.common.access import EVERY_ROLE
from services.common.client import Outgoing, open_channel
from services.common.database import open_database
from services.common.identity import EVERYONE, Identity, IdentitySigner
from services.common.index import open_milvus
from services.common.interceptors import RpcInterceptor, signed_by
from services.common.placements import Placement
from services.common.quotas import UNLIMITED, Quotas, TenantQuotas
from services.common.server import OPTIONS
from services.common.settings import SHARED
from services.gateway.adapters.audit import PostgresAudit
from services.gateway.adapters.audit_writer import AuditWriter
from services.gateway.adapters.engines import Engines
from services.gateway.adapters.postgres import MIGRATIONS, SCHEMA
from services.gateway.adapters.quotas import Meter, open_storage
from services.gateway.adapters.services import Channels, Limits, Services
from services.gateway.servicer.answers import GatewayServicer, Methods, Oversight
from services.gateway.servicer.witness import Witness
from services.retrieve.adapters import milvus
from services.retrieve.adapters.embedder import GrpcQueryEmbedder
from services.retrieve.adapters.memory import MemoryConfigurations, MemoryTunings
from services.retrieve.choice import IndexChoice
from services.retrieve.finding import Finder, Languages, Sight
from services.retrieve.reranking import Reranking
from services.retrieve.searching import Searcher
from services.retrieve.servicer import RetrieveServicer

SECONDS = 10.0
SOMEBODY = Identity("default", "user:somebody", (EVERYONE,), EVERY_ROLE)


class Everything:
    """Says that everybody may read everything, without looking."""

    async def sets_of(self, identity: Identity) -> tuple[str, ...]:
        return ()

    async def readable(self, identity: Identity, document_ids: Collection[str]) -> dict[str, bool]:
        return dict.fromkeys(document_ids, True)


class Shared:
    """Says that every tenant is in the shared place."""

    async def of(self, identity: Identity) -> Placement:
        return Placement()


@contextlib.asynccontextmanager
async def unchecked_gateway(platform: Platform) -> AsyncIterator[rpc.GatewayServiceStub]:
    """Give a stub of such a gateway, before such a retrieval, beside the platform's own."""
    with _running(platform) as address:
        async with grpc.aio.insecure_channel(address) as channel:
            yield rpc.GatewayServiceStub(channel)


@contextlib.contextmanager
def _running(platform: Platform) -> Iterator[str]:
    gateway, retrieve = free_address(), free_address()
    command, database = (
        [sys.executable, "-m", "bench.unchecked"],
        postgres.url_of(Home(platform.home).data / "postgres"),
    )
    environment = {**os.environ, "TANDEM_IDENTITY_KEY": Home(platform.home).identity_key()}
    with (
        subprocess.Popen(
            [*command, "retrieve", retrieve, platform.embed, platform.milvus_uri], env=environment
        ) as first,
        subprocess.Popen([*command, "gateway", gateway, retrieve, database], env=environment) as second,
    ):
        try:
            wait_for_port(retrieve)
            wait_for_port(gateway)
            yield gateway
        finally:
            second.terminate()
            first.terminate()


async def _serve_gateway(address: str, retrieve: str, database: str) -> None:
    async def anybody(_metadata: object) -> Identity:
        return SOMEBODY

    async def unlimited(_key_id: str) -> Quotas:
        return UNLIMITED

    async with open_channel(retrieve) as channel, open_database(database, MIGRATIONS, SCHEMA) as sessions:
        channels = Channels(channel, channel, Engines({SHARED: channel}, Shared()), channel, channel, channel)
        services = Services(channels, Outgoing(_signer()), Limits(SECONDS, SECONDS, SECONDS))
        writer = AuditWriter(PostgresAudit(sessions).add)
        witness = Witness(writer)
        meter = Meter(open_storage("async+memory://"), TenantQuotas(), unlimited)
        # Only searches are made: who answers, and where that is recorded, is not there.
        servicer = GatewayServicer(services, None, Methods(None, None), None, Oversight(meter, witness))
        server = grpc.aio.server(interceptors=[RpcInterceptor(anybody, witness)], options=OPTIONS)
        rpc.add_GatewayServiceServicer_to_server(servicer, server)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(writer.run())
            tasks.create_task(_until_ended(server, address))


async def _serve_retrieve(address: str, embed: str, milvus_uri: str) -> None:
    milvus.filter_of = lambda *_: ""
    signer, client = _signer(), open_milvus(milvus_uri)
    async with open_channel(embed) as channel:
        index = milvus.MilvusPassageIndex(client)
        languages = Languages(("en", "fr"), ("en",))
        sight = Sight(IndexChoice(MemoryConfigurations()), Everything())
        finder = Finder(GrpcQueryEmbedder(channel), index, sight, Outgoing(signer), languages)
        servicer = RetrieveServicer(finder, Searcher(finder, MemoryTunings(), Reranking(None, 1.0), lambda: 0))
        server = grpc.aio.server(interceptors=[RpcInterceptor(signed_by(signer.verify))], options=OPTIONS)
        retrieve_rpc.add_RetrieveServiceServicer_to_server(servicer, server)
        await _until_ended(server, address)


async def _until_ended(server: grpc.aio.Server, address: str) -> None:
    server.add_insecure_port(address)
    await server.start()
    await asyncio.Event().wait()


def _signer() -> IdentitySigner:
    return IdentitySigner(os.environ["TANDEM_IDENTITY_KEY"].encode())


if __name__ == "__main__":
    kind, *addresses = sys.argv[1:]
    uvloop.run({"gateway": _serve_gateway, "retrieve": _serve_retrieve}[kind](*addresses))
