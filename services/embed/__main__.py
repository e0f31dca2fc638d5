"""Starts `embed`: settings, adapters, faces."""

import asyncio
import logging
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
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
from services.common.index_config import IndexConfig
from services.common.indexes import Made, open_indexes
from services.common.interceptors import signed_by
from services.common.placements import open_placements
from services.common.places import MilvusPlaces
from services.common.server import Service, run, serve, stop_on_signal
from services.common.settings import PlatformSettings
from services.common.telemetry import start_telemetry
from services.common.transport import Transport
from services.embed.adapters.milvus import CollectionKind
from services.embed.adapters.models import folder_of, open_embedder
from services.embed.adapters.parser_process import ParseLimits, open_parser
from services.embed.adapters.places import MilvusIndexes
from services.embed.adapters.tokens import HuggingFaceTokens, most_tokens_of
from services.embed.chunking.documents import DocumentChunker
from services.embed.consumer import GROUP, DocumentConsumer
from services.embed.emptying import ErasureServicer, PlaceServicer
from services.embed.feeding import feed
from services.embed.index_servicer import IndexServicer
from services.embed.indexing import Reader
from services.embed.lanes import LaneLimits, open_lanes
from services.embed.models import Load, Model, Models
from services.embed.placing import PlacedIndexer, Registry
from services.embed.recipes import Recipes
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
    folders = _folders(settings)
    own = next(iter(folders))
    config = IndexConfig(own, settings.languages, settings.chunk_tokens, settings.chunk_overlap_tokens)
    async with AsyncExitStack() as stack:
        loads = _loads(settings, folders, stack)
        models = Models(await loads.pop(own)(), loads)
        parser = await stack.enter_async_context(open_parser(_parse_limits(settings)))
        places = MilvusPlaces(settings.milvus_uri, settings.milvus_token, platform.places)
        stack.push_async_callback(places.close)
        database = settings.database_url.get_secret_value()
        placements = await stack.enter_async_context(open_placements(database))
        configurations = await stack.enter_async_context(open_indexes(database))
        indexes = MilvusIndexes(places, CollectionKind(own, models.own.dimensions, config.languages))
        producer = await stack.enter_async_context(open_producer(settings.bus, platform.bus_options))
        chunker = DocumentChunker(models.own.tokens, config)
        reader = Reader(Blobs(settings.blobs), parser, chunker, settings.max_document_bytes)
        default = Made(config, own)
        registry = Registry(placements, configurations, Recipes(default, models, reader))
        consumer = DocumentConsumer(PlacedIndexer(indexes, registry), producer, partial(datetime.now, UTC))
        subscription = Subscription(
            settings.bus, (DOCUMENTS_CHANGED,), GROUP, settings.batch_records, security=platform.bus_options
        )
        servicers = Servicers(
            EmbedServicer(models),
            PlaceServicer(indexes, placements),
            IndexServicer(indexes, configurations, default, await asyncio.to_thread(_max_tokens, folders)),
            ErasureServicer(indexes),
        )

        async def warm() -> None:
            await models.own.lanes.embed_queries(["ready"])

        signer = IdentitySigner(platform.identity_key.get_secret_value().encode())
        service = Service(
            address=settings.address,
            metrics_address=settings.metrics_address,
            authenticate=signed_by(signer.verify),
            register=servicers.register,
            names=NAMES,
            pings=(warm, indexes.ping, placements.ping, configurations.ping, producer.ping),
            tasks=(partial(feed, subscription, Limits(settings.ahead_records, settings.ahead_bytes), consumer.handle),),
        )
        await serve(service, stop, Transport.of(platform))


@dataclass(frozen=True, slots=True)
class Servicers:
    """The faces of the service."""

    embed: EmbedServicer
    places: PlaceServicer
    indexes: IndexServicer
    erasure: ErasureServicer

    def register(self, server: grpc.aio.Server) -> None:
        """Add them to a server."""
        embed_service_pb2_grpc.add_EmbedServiceServicer_to_server(self.embed, server)
        embed_service_pb2_grpc.add_PlaceServiceServicer_to_server(self.places, server)
        embed_service_pb2_grpc.add_IndexServiceServicer_to_server(self.indexes, server)
        erasure_service_pb2_grpc.add_ErasureServiceServicer_to_server(self.erasure, server)


def _folders(settings: Settings) -> dict[str, Path]:
    """Return where each model lies, by its name; the deployment's own is first."""
    own = folder_of(settings.model)
    others = {name: Path(model) for name, model in settings.models.items()}
    return {settings.model_name or own.name: own} | others


def _loads(settings: Settings, folders: Mapping[str, Path], stack: AsyncExitStack) -> dict[str, Load]:
    """Return what loads each model. They compute in turns, each with every core."""
    turn = asyncio.Lock()

    async def load(name: str) -> Model:
        folder = await asyncio.to_thread(folder_of, str(folders[name]))
        cache = Path(settings.cache)
        embedder = await asyncio.to_thread(open_embedder, settings.backend, folder, cache, settings.threads)
        lanes = await stack.enter_async_context(open_lanes(embedder, _lane_limits(settings), turn))
        return Model(name, embedder.dimensions, HuggingFaceTokens(folder), lanes)

    return {name: partial(load, name) for name in folders}


def _max_tokens(folders: Mapping[str, Path]) -> dict[str, int]:
    return {name: most_tokens_of(folder) for name, folder in folders.items()}


def _lane_limits(settings: Settings) -> LaneLimits:
    return LaneLimits(settings.query_batch, settings.query_queue, settings.batch_tokens)


def _parse_limits(settings: Settings) -> ParseLimits:
    return ParseLimits(
        settings.max_document_bytes, settings.max_text_characters, settings.parse_seconds, settings.parse_memory_bytes
    )


if __name__ == "__main__":
    run(main)
