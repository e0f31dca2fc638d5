"""Starts the ingest service: reads settings, wires, serves."""

from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from tandem.ingest.v1 import ingest_service_pb2 as pb
from tandem.ingest.v1 import ingest_service_pb2_grpc as rpc

from services.common.blobs import Blobs
from services.common.bus import DOCUMENTS_INDEXED, open_producer
from services.common.bus_security import BusSecurity
from services.common.consuming import Subscription, consume
from services.common.database import Sessions, open_database, ping
from services.common.identity import IdentitySigner
from services.common.interceptors import signed_by
from services.common.outbox import Outbox
from services.common.server import Service, run, serve
from services.common.settings import PlatformSettings
from services.common.telemetry import start_telemetry
from services.common.transport import Transport
from services.ingest.adapters.files import FilesConnector
from services.ingest.adapters.tables import OUTBOX, SCHEMA
from services.ingest.catalog import Catalog
from services.ingest.consumer import IndexedConsumer
from services.ingest.contents import Contents
from services.ingest.domain import FilesConfig, Source
from services.ingest.errors import InvalidSourceConfig
from services.ingest.manifest import Manifest
from services.ingest.progress import Progress
from services.ingest.reconciler import Reconciler
from services.ingest.runner import SourceRunner
from services.ingest.servicer import IngestServicer, Parts
from services.ingest.settings import Settings
from services.ingest.sync import Syncer

MIGRATIONS = Path(__file__).parent / "migrations"


async def main() -> None:
    platform, settings = PlatformSettings(), Settings()
    start_telemetry("ingest", platform.log_level, platform.traces)
    key = platform.identity_key.get_secret_value().encode()
    async with AsyncExitStack() as resources:
        database = open_database(settings.database_url.get_secret_value(), MIGRATIONS, SCHEMA)
        sessions = await resources.enter_async_context(database)
        service = wire(settings, sessions, IdentitySigner(key), platform.bus_options)
        await serve(service, transport=Transport.of(platform))


def wire(settings: Settings, sessions: Sessions, signer: IdentitySigner, security: BusSecurity) -> Service:
    """Return the service on an open database."""
    now, max_bytes = partial(datetime.now, UTC), settings.max_document_bytes
    patience = timedelta(seconds=settings.republish_seconds)
    outbox, contents = Outbox(OUTBOX), Contents(Blobs(settings.blobs))
    connect = partial(connector_of, settings.file_roots)
    manifest, catalog = Manifest(sessions, outbox, now, max_bytes), Catalog(sessions, now)
    syncer = Syncer(catalog, manifest, contents, connect, max_bytes)
    runner = SourceRunner(catalog, syncer, connect)
    progress = Progress(patience, now())
    consumer = IndexedConsumer(manifest, progress, now)
    subscription = Subscription(settings.bus, (DOCUMENTS_INDEXED,), "ingest", security=security)

    async def check(config: FilesConfig) -> None:
        await FilesConnector(config, settings.file_roots).check()

    parts = Parts(catalog, manifest, syncer, runner, contents, check)
    servicer = IngestServicer(parts, now, max_bytes)
    return Service(
        address=settings.address,
        metrics_address=settings.metrics_address,
        authenticate=signed_by(signer.verify),
        register=lambda server: rpc.add_IngestServiceServicer_to_server(servicer, server),
        names=(pb.DESCRIPTOR.services_by_name["IngestService"].full_name,),
        # The broker is no condition: without it changes are kept, and published later.
        pings=(partial(ping, sessions),),
        tasks=(
            partial(relay, outbox, sessions, settings.bus, security),
            partial(consume, subscription, consumer.handle),
            Reconciler(manifest, progress, patience, now).run,
            runner.run,
        ),
    )


def connector_of(file_roots: tuple[Path, ...], source: Source) -> FilesConnector:
    """Return the connector of a source.

    Raises:
        InvalidSourceConfig: no connector is of its kind.
    """
    if source.config is None:
        raise InvalidSourceConfig("the source has nothing to connect to", kind=source.kind)
    return FilesConnector(source.config, file_roots)


async def relay(outbox: Outbox, sessions: Sessions, bus: str, security: BusSecurity) -> None:
    """Publish the outbox for ever, from when the broker is there."""
    async with open_producer(bus, security) as producer:
        await outbox.relay(sessions, producer)


if __name__ == "__main__":
    run(main)
