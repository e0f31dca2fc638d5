"""A gateway and a retrieval that let everybody read everything: what a search costs without any check.

Run as `python -m bench.unchecked gateway ADDRESS RETRIEVE` or `retrieve ADDRESS EMBED MILVUS`, with
TANDEM_IDENTITY_KEY. The code is the platform's, but for its authentication, its filter over
principals, and its look into the manifest.
"""

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Collection, Iterator

import grpc
import uvloop
from tandem.gateway.v1 import gateway_service_pb2 as pb
from tandem.gateway.v1 import gateway_service_pb2_grpc as rpc
from tandem.retrieve.v1 import retrieve_service_pb2 as retrieve_pb
from tandem.retrieve.v1 import retrieve_service_pb2_grpc as retrieve_rpc

from bench.platform import Platform, free_address, wait_for_port
from services.cli.home import Home
from services.common.access import EVERY_ROLE
from services.common.client import Outgoing, open_channel
from services.common.identity import EVERYONE, Identity, IdentitySigner, caller
from services.common.index import open_milvus
from services.common.interceptors import RpcInterceptor, signed_by
from services.common.server import OPTIONS
from services.retrieve.adapters import milvus
from services.retrieve.adapters.embedder import GrpcQueryEmbedder
from services.retrieve.servicer import RetrieveServicer

SECONDS = 10.0
SOMEBODY = Identity("default", "user:somebody", (EVERYONE,), EVERY_ROLE)


class Everything:
    """Says that everybody may read everything, without looking."""

    async def sets_of(self, identity: Identity) -> tuple[str, ...]:
        return ()

    async def readable(self, identity: Identity, document_ids: Collection[str]) -> dict[str, bool]:
        return dict.fromkeys(document_ids, True)


class Gateway(rpc.GatewayServiceServicer):
    """Searches for somebody."""

    def __init__(self, retrieve: retrieve_rpc.RetrieveServiceStub, outgoing: Outgoing) -> None:
        self._retrieve = retrieve
        self._outgoing = outgoing

    async def Search(self, request: pb.SearchRequest, context: grpc.aio.ServicerContext) -> pb.SearchResponse:
        wanted = retrieve_pb.RetrieveRequest(query=request.query, top_k=request.top_k)
        found = await self._retrieve.Retrieve(wanted, **self._outgoing(caller(), context, SECONDS))
        return pb.SearchResponse(passages=found.passages, index_version=found.index_version, model=found.model)


@contextlib.asynccontextmanager
async def unchecked_gateway(platform: Platform) -> AsyncIterator[rpc.GatewayServiceStub]:
    """Give a stub of such a gateway, before such a retrieval, beside the platform's own."""
    with _running(platform) as address:
        async with grpc.aio.insecure_channel(address) as channel:
            yield rpc.GatewayServiceStub(channel)


@contextlib.contextmanager
def _running(platform: Platform) -> Iterator[str]:
    gateway, retrieve = free_address(), free_address()
    command = [sys.executable, "-m", "bench.unchecked"]
    environment = {**os.environ, "TANDEM_IDENTITY_KEY": Home(platform.home).identity_key()}
    with (
        subprocess.Popen(
            [*command, "retrieve", retrieve, platform.embed, platform.milvus_uri], env=environment
        ) as first,
        subprocess.Popen([*command, "gateway", gateway, retrieve], env=environment) as second,
    ):
        try:
            wait_for_port(retrieve)
            wait_for_port(gateway)
            yield gateway
        finally:
            second.terminate()
            first.terminate()


async def _serve_gateway(address: str, retrieve: str) -> None:
    async def anybody(_metadata: object) -> Identity:
        return SOMEBODY

    async with open_channel(retrieve) as channel:
        servicer = Gateway(retrieve_rpc.RetrieveServiceStub(channel), Outgoing(_signer()))
        server = grpc.aio.server(interceptors=[RpcInterceptor(anybody)], options=OPTIONS)
        rpc.add_GatewayServiceServicer_to_server(servicer, server)
        await _until_ended(server, address)


async def _serve_retrieve(address: str, embed: str, milvus_uri: str) -> None:
    milvus.filter_of = lambda *_: ""
    signer, client = _signer(), open_milvus(milvus_uri)
    async with open_channel(embed) as channel:
        index = milvus.MilvusPassageIndex(client)
        servicer = RetrieveServicer(GrpcQueryEmbedder(channel), index, Everything(), Outgoing(signer))
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
