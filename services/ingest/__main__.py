"""Starts the ingest service: reads settings, wires, serves."""

from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

import grpc
from tandem.erasure.v1 import erasure_service_pb2 as erasure_pb
from tandem.erasure.v1 import erasure_service_pb2_grpc as erasure_rpc
from tandem.ingest.v1 import index_service_pb2 as index_pb
from tandem.ingest.v1 import index_service_pb2_grpc as index_rpc
from tandem.ingest.v1 import ingest_service_pb2 as pb
from tandem.ingest.v1 import ingest_service_pb2_grpc as rpc
from tandem.ingest.v1 import placement_service_pb2 as placement_pb
from tandem.ingest.v1 import placement_service_pb2_grpc as placement_rpc
from tandem.ingest.v1 import secret_service_pb2 as secret_pb
from tandem.ingest.v1 import secret_service_pb2_grpc as secret_rpc

from services.common.blobs import Blobs
from services.common.bus import DOCUMENTS_CHANGED, DOCUMENTS_INDEXED, open_producer
from services.common.bus_security import BusSecurity
from services.common.client import open_channel
from services.common.consuming import Subscription, consume
from services.common.database import Sessions, open_database, ping
from services.common.identity import IdentitySigner
from services.common.interceptors import signed_by
from services.common.outbox import Outbox
from services.common.pacing import open_pace
from services.common.secrets import Envelope, SecretsSettings, keys_of
from services.common.server import Service, run, serve
from services.common.settings import PlatformSettings
from services.common.telemetry import start_telemetry
from services.common.transport import Transport
from services.ingest.acl import Acl
from services.ingest.adapters.deployment import GrpcDeployment
from services.ingest.adapters.emptier import GrpcEmptier
from services.ingest.adapters.files import FilesConnector
from services.ingest.adapters.tables import MIGRATIONS, OUTBOX, SCHEMA
from services.ingest.builder import Builder, Deployed, Drop, Indexes
from services.ingest.catalog import Catalog
from services.ingest.consumer import IndexedConsumer
from services.ingest.contents import Contents
from services.ingest.domain import FilesConfig, Source
from services.ingest.erasure import Erasure, Tools
from services.ingest.erasure_servicer import ErasureServicer
from services.ingest.errors import InvalidSourceConfig
from services.ingest.index_servicer import IndexServicer
from services.ingest.manifest import Manifest
from services.ingest.mover import Empty, Mover, Moves
from services.ingest.placement_servicer import PlacementServicer
from services.ingest.progress import Progress
from services.ingest.reconciler import Reconciler
from services.ingest.runner import SourceRunner
from services.ingest.secret_servicer import SecretServicer
from services.ingest.servicer import IngestServicer, Parts
from services.ingest.settings import Settings
from services.ingest.steps import Steps
from services.ingest.sweeper import Sweeper
from services.ingest.sync import Syncer

NAMES = tuple(
    service.full_name
    for file in (pb, index_pb, placement_pb, secret_pb, erasure_pb)
    for service in file.DESCRIPTOR.services_by_name.values()
)
# The group that reads what is published, and how far it may be behind before backlogs wait here.
# It reads at least twice as far ahead (EMBED_AHEAD_RECORDS), so that it sees whatever is published.
READER = "embed"
MOST_AHEAD = 10_000
# A build's documents are embedded anew, which takes longer than what changes otherwise.
BUILD_PATIENCE = 4


async def main() -> None:
    platform, settings = PlatformSettings(), Settings()
    start_telemetry("ingest", platform.log_level, platform.traces)
    key = platform.identity_key.get_secret_value().encode()
    async with AsyncExitStack() as resources:
        database = open_database(settings.database_url.get_secret_value(), MIGRATIONS, SCHEMA)
        sessions = await resources.enter_async_context(database)
        signer, transport = IdentitySigner(key), Transport.of(platform)
        embed = await resources.enter_async_context(open_channel(settings.embed_address, transport))
        deployment = GrpcDeployment(embed, signer)
        embedding = Embedding(GrpcEmptier(embed, signer).empty, deployment.deployed, deployment.drop)
        await serve(wire(platform, settings, sessions, embedding), transport=transport)


@dataclass(frozen=True, slots=True)
class Embedding:
    """What is asked of embed."""

    empty: Empty
    deployed: Deployed
    drop: Drop


def wire(platform: PlatformSettings, settings: Settings, sessions: Sessions, embedding: Embedding) -> Service:
    """Return the service on an open database."""
    now, max_bytes = partial(datetime.now, UTC), settings.max_document_bytes
    patience = timedelta(seconds=settings.republish_seconds)
    outbox, blobs = Outbox(OUTBOX), Blobs(settings.blobs)
    contents, sweeper = Contents(blobs, sessions, now), Sweeper(sessions, blobs, now)
    steps = Steps(outbox, now, sweeper.wake)
    acl, envelope = Acl(sessions, steps), Envelope(keys_of(SecretsSettings()))
    connect = partial(connector_of, settings)
    manifest, catalog = Manifest(sessions, steps, max_bytes, platform.quotas), Catalog(sessions, now)
    syncer = Syncer(catalog, manifest, contents, connect, max_bytes)
    runner = SourceRunner(catalog, syncer, connect)
    progress = Progress(patience, now())
    consumer = IndexedConsumer(manifest, progress, now)
    subscription = Subscription(settings.bus, (DOCUMENTS_INDEXED,), "ingest", security=platform.bus_options)

    async def check(config: FilesConfig) -> None:
        await FilesConnector(config, settings.file_roots, settings.file_refused).check()

    parts = Parts(catalog, manifest, syncer, runner, contents, acl, check)
    servicer, secrets = IngestServicer(parts, now, max_bytes), SecretServicer(sessions, envelope, now)
    erasure = ErasureServicer(Erasure(sessions, steps, Tools(manifest, acl, sweeper, blobs)))
    placements = PlacementServicer(Moves(sessions, platform.places))
    indexes = IndexServicer(Indexes(sessions, manifest, embedding.deployed))
    signer = IdentitySigner(platform.identity_key.get_secret_value().encode())

    def register(server: grpc.aio.Server) -> None:
        rpc.add_IngestServiceServicer_to_server(servicer, server)
        secret_rpc.add_SecretServiceServicer_to_server(secrets, server)
        erasure_rpc.add_ErasureServiceServicer_to_server(erasure, server)
        placement_rpc.add_PlacementServiceServicer_to_server(placements, server)
        index_rpc.add_IndexServiceServicer_to_server(indexes, server)

    return Service(
        address=settings.address,
        metrics_address=settings.metrics_address,
        authenticate=signed_by(signer.verify),
        register=register,
        names=NAMES,
        # The broker is no condition: without it changes are kept, and published later.
        pings=(partial(ping, sessions),),
        tasks=(
            partial(relay, outbox, sessions, settings.bus, platform.bus_options),
            partial(consume, subscription, consumer.handle),
            Reconciler(manifest, progress, patience, now).run,
            runner.run,
            sweeper.run,
            Mover(sessions, manifest, embedding.empty).run,
            Builder(sessions, manifest, embedding.drop, BUILD_PATIENCE * patience).run,
        ),
    )


def connector_of(settings: Settings, source: Source) -> FilesConnector:
    """Return the connector of a source.

    Raises:
        InvalidSourceConfig: no connector is of its kind.
    """
    if source.config is None:
        raise InvalidSourceConfig("the source has nothing to connect to", kind=source.kind)
    return FilesConnector(source.config, settings.file_roots, settings.file_refused)


async def relay(outbox: Outbox, sessions: Sessions, bus: str, security: BusSecurity) -> None:
    """Publish the outbox for ever, from when the broker is there."""
    async with (
        open_producer(bus, security) as producer,
        open_pace(Subscription(bus, (DOCUMENTS_CHANGED,), READER, security=security), MOST_AHEAD) as pace,
    ):
        await outbox.relay(sessions, producer, pace)


if __name__ == "__main__":
    run(main)
