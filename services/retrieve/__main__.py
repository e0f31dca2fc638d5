"""Starts the retrieve service."""

import contextlib
import logging

from tandem.retrieve.v1 import retrieve_service_pb2, retrieve_service_pb2_grpc

from services.common.client import Outgoing, open_channel
from services.common.identity import IdentitySigner
from services.common.indexes import open_indexes
from services.common.interceptors import signed_by
from services.common.permissions import open_permissions
from services.common.placements import open_placements
from services.common.places import MilvusPlaces
from services.common.server import Service, run, serve
from services.common.settings import PlatformSettings
from services.common.telemetry import start_telemetry
from services.common.transport import Transport
from services.retrieve.adapters.embedder import GrpcQueryEmbedder
from services.retrieve.adapters.placed import PlacedPassageIndex
from services.retrieve.choice import IndexChoice
from services.retrieve.servicer import RetrieveServicer
from services.retrieve.settings import Settings


async def main() -> None:
    platform, settings = PlatformSettings(), Settings()
    start_telemetry("retrieve", platform.log_level, platform.traces)
    # pymilvus logs what it raises, with the filter, though we answer for it.
    logging.getLogger("pymilvus").setLevel(logging.CRITICAL)
    signer = IdentitySigner(platform.identity_key.get_secret_value().encode())
    transport = Transport.of(platform)
    async with contextlib.AsyncExitStack() as stack:
        channel = await stack.enter_async_context(open_channel(settings.embed_address, transport))
        places = MilvusPlaces(settings.milvus_uri, settings.milvus_token, platform.places)
        stack.push_async_callback(places.close)
        permissions = await stack.enter_async_context(open_permissions(settings.database_url.get_secret_value()))
        placements = await stack.enter_async_context(open_placements(settings.database_url.get_secret_value()))
        configurations = await stack.enter_async_context(open_indexes(settings.database_url.get_secret_value()))
        embedder, index = GrpcQueryEmbedder(channel), PlacedPassageIndex(places, placements)
        choice = IndexChoice(configurations, settings.languages)
        servicer = RetrieveServicer(embedder, index, permissions, Outgoing(signer), choice)
        await serve(
            Service(
                address=settings.address,
                metrics_address=settings.metrics_address,
                authenticate=signed_by(signer.verify),
                register=lambda server: retrieve_service_pb2_grpc.add_RetrieveServiceServicer_to_server(
                    servicer, server
                ),
                names=(retrieve_service_pb2.DESCRIPTOR.services_by_name["RetrieveService"].full_name,),
                pings=(index.ping, placements.ping, configurations.ping, permissions.ping, embedder.ping),
            ),
            transport=transport,
        )


if __name__ == "__main__":
    run(main)
