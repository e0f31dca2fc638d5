"""Starts `embed`: settings, adapters, faces."""

import asyncio
import logging
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import grpc
from tandem.embed.v1 import embed_service_pb2, embed_service_pb2_grpc
from tandem.erasure.v1 import erasure_service_pb2, erasure_service_pb2_grpc

from services.common.blobs import Blobs
from services.common.bus import DOCUMENTS_CHANGED, open_producer
from services.common.consuming import Subscription
from services.common.identity import IdentitySigner
from services.common.interceptors import signed_by
from services.common.placements import Placements, open_placements
from services.common.places import MilvusPlaces
from services.common.server import Service, run, serve, stop_on_signal
from services.common.settings import PlatformSettings
from services.common.telemetry import start_telemetry
from services.common.transport import Transport
from services.embed.adapters.milvus import CollectionKind
from services.embed.adapters.models import folder_of, open_embedder
from services.embed.adapters.parser_process import ParseLimits, open_parser
from services.embed.adapters.places import MilvusIndexes
from services.embed.adapters.tokens import HuggingFaceTokens
from services.embed.chunking.chunker import Chunker, ChunkLimits
from services.embed.consumer import GROUP, DocumentConsumer
from services.embed.emptying import ErasureServicer, PlaceServicer
from services.embed.feeding import feed
from services.embed.indexing import Reader
from services.embed.lanes import LaneLimits, open_lanes
from services.embed.placing import PlacedIndexer
from services.embed.scheduling import Limits
from services.embed.servicer import EmbedServicer
from services.embed.settings import Settings

NAMES = tuple(
    service.full_name
    for file in (embed_service_pb2, erasure_service_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
)


async def main() -> None:
    """Run until told to stop."""
    settings, platform = Settings(), PlatformSettings()
    start_telemetry("embed", platform.log_level, platform.traces)
    # pymilvus logs each failed try with its whole stack; ours say it once.
    logging.getLogger("pymilvus").setLevel(logging.CRITICAL)
    stop = stop_on_signal()
    folder = folder_of(settings.model)
    name = settings.model_name or folder.name
    embedder = await asyncio.to_thread(open_embedder, settings.backend, folder, Path(settings.cache), settings.threads)
    async with AsyncExitStack() as stack:
        lanes = await stack.enter_async_context(open_lanes(embedder, _lane_limits(settings)))
        parser = await stack.enter_async_context(open_parser(_parse_limits(settings)))
        places = MilvusPlaces(settings.milvus_uri, settings.milvus_token, platform.places)
        stack.push_async_callback(places.close)
        placements = await stack.enter_async_context(open_placements(settings.database_url.get_secret_value()))
        indexes = MilvusIndexes(places, CollectionKind(name, embedder.dimensions, settings.languages))
        producer = await stack.enter_async_context(open_producer(settings.bus, platform.bus_options))
        chunker = Chunker(HuggingFaceTokens(folder), ChunkLimits(settings.chunk_tokens, settings.chunk_overlap_tokens))
        reader = Reader(Blobs(settings.blobs), parser, chunker, settings.max_document_bytes)
        consumer = DocumentConsumer(
            PlacedIndexer(indexes, placements, reader, lanes), producer, partial(datetime.now, UTC)
        )
        subscription = Subscription(
            settings.bus, (DOCUMENTS_CHANGED,), GROUP, settings.batch_records, security=platform.bus_options
        )

        async def warm() -> None:
            await lanes.embed_queries(["ready"])

        signer = IdentitySigner(platform.identity_key.get_secret_value().encode())
        service = Service(
            address=settings.address,
            metrics_address=settings.metrics_address,
            authenticate=signed_by(signer.verify),
            register=partial(_register, EmbedServicer(lanes, name), indexes, placements),
            names=NAMES,
            pings=(warm, indexes.ping, placements.ping, producer.ping),
            tasks=(partial(feed, subscription, Limits(settings.ahead_records, settings.ahead_bytes), consumer.handle),),
        )
        await serve(service, stop, Transport.of(platform))


def _register(embed: EmbedServicer, indexes: MilvusIndexes, placements: Placements, server: grpc.aio.Server) -> None:
    embed_service_pb2_grpc.add_EmbedServiceServicer_to_server(embed, server)
    embed_service_pb2_grpc.add_PlaceServiceServicer_to_server(PlaceServicer(indexes, placements), server)
    erasure_service_pb2_grpc.add_ErasureServiceServicer_to_server(ErasureServicer(indexes), server)


def _lane_limits(settings: Settings) -> LaneLimits:
    return LaneLimits(settings.query_batch, settings.query_queue, settings.batch_tokens)


def _parse_limits(settings: Settings) -> ParseLimits:
    return ParseLimits(
        settings.max_document_bytes, settings.max_text_characters, settings.parse_seconds, settings.parse_memory_bytes
    )


if __name__ == "__main__":
    run(main)
