"""A retrieve service between a real Milvus and an embed service whose vectors are made up."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tandem.embed.v1 import embed_service_pb2, embed_service_pb2_grpc
from tandem.retrieve.v1 import retrieve_service_pb2, retrieve_service_pb2_grpc, tuning_service_pb2_grpc

from services.common import index
from services.common.access import EVERY_ROLE
from services.common.client import open_channel
from services.common.database import open_database
from services.common.identity import METADATA_KEY, Identity, IdentitySigner, caller
from services.common.interceptors import RpcInterceptor, signed_by
from services.common.permissions import open_permissions
from services.common.server import Service, serve
from services.retrieve.adapters.embedder import GrpcQueryEmbedder
from services.retrieve.adapters.memory import MemoryQueryEmbedder
from services.retrieve.adapters.milvus import MilvusPassageIndex
from services.retrieve.adapters.postgres import SCHEMA, PostgresTunings
from services.retrieve.servicer import RETRIEVE, TUNING
from tests.manifest import Manifest
from tests.unit.retrieve.faces import faces_of
from tests.unit.retrieve.rows import DIMENSIONS

MIGRATIONS = Path(__file__).parents[3] / "services/retrieve/migrations"
KEY = b"k" * 32
MODEL = "made-up"
ADA = Identity("acme", "user:ada", ("everyone", "user:ada"), EVERY_ROLE)
VECTORS = MemoryQueryEmbedder(DIMENSIONS, MODEL)


@dataclass
class EmbedServicer(embed_service_pb2_grpc.EmbedServiceServicer):
    """Answers with made-up vectors, and keeps for whom."""

    callers: list[Identity] = field(default_factory=list)
    delay_seconds: float = 0.0
    refusal: grpc.StatusCode | None = None

    async def Embed(self, request, context):
        self.callers.append(caller())
        await asyncio.sleep(self.delay_seconds)
        if self.refusal:
            await context.abort(self.refusal, "the queue is full")
        vectors = [embed_service_pb2.Vector(values=VECTORS.vector_of(text).tobytes()) for text in request.texts]
        return embed_service_pb2.EmbedResponse(vectors=vectors, model=MODEL)


class HealthServicer(health_pb2_grpc.HealthServicer):
    async def Check(self, request, context):
        return health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)


@contextlib.asynccontextmanager
async def embed_server(servicer, address="127.0.0.1:0") -> AsyncIterator[str]:
    server = grpc.aio.server(interceptors=[RpcInterceptor(signed_by(IdentitySigner(KEY).verify))])
    embed_service_pb2_grpc.add_EmbedServiceServicer_to_server(servicer, server)
    health_pb2_grpc.add_HealthServicer_to_server(HealthServicer(), server)
    port = server.add_insecure_port(address)
    await server.start()
    yield f"127.0.0.1:{port}"
    await server.stop(None)


@dataclass
class Caller:
    """Calls the service as an identity."""

    stub: retrieve_service_pb2_grpc.RetrieveServiceStub
    tuning: tuning_service_pb2_grpc.TuningServiceStub

    async def retrieve(self, query, identity=ADA, timeout=10.0, **fields):  # noqa: ASYNC109 - gRPC's own deadline
        metadata = ((METADATA_KEY, IdentitySigner(KEY).sign(identity)),) if identity else ()
        request = retrieve_service_pb2.RetrieveRequest(query=query, **fields)
        return await self.stub.Retrieve(request, timeout=timeout, metadata=metadata)

    async def call(self, method, request, identity=ADA):
        metadata = ((METADATA_KEY, IdentitySigner(KEY).sign(identity)),)
        return await method(request, timeout=10.0, metadata=metadata)


@contextlib.asynccontextmanager
async def retrieve_server(milvus_uri, embed_address, database_url, reranker=None) -> AsyncIterator[Caller]:
    signer, stop = IdentitySigner(KEY), asyncio.Event()
    ready = asyncio.get_running_loop().create_future()
    async with contextlib.AsyncExitStack() as stack:
        embed_channel = await stack.enter_async_context(open_channel(embed_address))
        milvus = index.open_milvus(milvus_uri)
        stack.push_async_callback(milvus.close)
        permissions = await stack.enter_async_context(open_permissions(database_url))
        embedder, passages = GrpcQueryEmbedder(embed_channel), MilvusPassageIndex(milvus)
        sessions = await stack.enter_async_context(open_database(database_url, MIGRATIONS, SCHEMA))
        tunings = PostgresTunings(sessions, partial(datetime.now, UTC))
        faces = faces_of(embedder, passages, permissions, tunings=tunings, reranker=reranker, key=KEY)
        serving = asyncio.create_task(
            serve(
                Service(
                    address="127.0.0.1:0",
                    metrics_address="127.0.0.1:0",
                    authenticate=signed_by(signer.verify),
                    register=faces.register,
                    names=(RETRIEVE, TUNING),
                    pings=(passages.ping, permissions.ping, embedder.ping),
                    started=ready.set_result,
                ),
                stop,
            )
        )
        # No retries here: a test sees the first answer.
        channel = grpc.aio.insecure_channel(f"127.0.0.1:{await ready}")
        async with channel:
            yield Caller(
                retrieve_service_pb2_grpc.RetrieveServiceStub(channel),
                tuning_service_pb2_grpc.TuningServiceStub(channel),
            )
        stop.set()
        await serving


@pytest.fixture
def embedder():
    return EmbedServicer()


@pytest.fixture
async def service(milvus_uri, embedder, manifest):
    async with (
        embed_server(embedder) as address,
        retrieve_server(milvus_uri, address, manifest.url) as caller,
    ):
        yield caller


async def write(uri: str, manifest: Manifest, tenant_id: str, rows: list[dict]) -> None:
    """Write `rows` into the tenant's collection, making it where it is not there, and their documents' readers."""
    for one in rows:
        await manifest.put(tenant_id, one[index.DOCUMENT_ID], *one[index.READERS])
    client = index.open_milvus(uri)
    collection = index.collection_of(tenant_id, MODEL)
    indexes = client.prepare_index_params()
    indexes.add_index(index.DENSE, index_type="AUTOINDEX", metric_type="COSINE")
    indexes.add_index(index.SPARSE, index_type="SPARSE_INVERTED_INDEX", metric_type="BM25")
    if not await client.has_collection(collection, timeout=10):
        await client.create_collection(collection, schema=index.schema_of(DIMENSIONS), index_params=indexes, timeout=10)
    await client.upsert(collection, rows, timeout=10)
    await client.close()


def reason_of(error: grpc.aio.AioRpcError) -> str:
    """Return the reason in the status' ErrorInfo."""
    details = dict(error.trailing_metadata())["grpc-status-details-bin"]
    info = error_details_pb2.ErrorInfo()
    status_pb2.Status.FromString(details).details[0].Unpack(info)
    return info.reason
