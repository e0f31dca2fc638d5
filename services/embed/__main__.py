"""Starts `embed`: settings, adapters, faces."""

import asyncio
import logging
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from tandem.embed.v1 import embed_service_pb2, embed_service_pb2_grpc

from services.common import index
from services.common.blobs import Blobs
from services.common.bus import DOCUMENTS_CHANGED, open_producer
from services.common.consuming import Subscription, consume
from services.common.identity import IdentitySigner
from services.common.interceptors import signed_by
from services.common.server import Service, run, serve, stop_on_signal
from services.common.settings import PlatformSettings
from services.common.telemetry import start_telemetry
from services.common.transport import Transport
from services.embed.adapters.milvus import MilvusPassageIndex
from services.embed.adapters.models import folder_of, open_embedder
from services.embed.adapters.parser_process import ParseLimits, open_parser
from services.embed.adapters.tokens import HuggingFaceTokens
from services.embed.chunking.chunker import Chunker, ChunkLimits
from services.embed.consumer import GROUP, DocumentConsumer
from services.embed.indexing import Indexer, Reader
from services.embed.lanes import LaneLimits, open_lanes
from services.embed.servicer import EmbedServicer
from services.embed.settings import Settings
from services.embed.writing import Writer


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
        limits = LaneLimits(settings.query_batch, settings.query_queue, settings.batch_tokens)
        lanes = await stack.enter_async_context(open_lanes(embedder, limits))
        parser = await stack.enter_async_context(open_parser(_parse_limits(settings)))
        milvus = index.open_milvus(settings.milvus_uri, settings.milvus_token.get_secret_value())
        stack.push_async_callback(milvus.close)
        passages = MilvusPassageIndex(milvus, name, embedder.dimensions)
        producer = await stack.enter_async_context(open_producer(settings.bus, platform.bus_options))
        chunker = Chunker(HuggingFaceTokens(folder), ChunkLimits(settings.chunk_tokens, settings.chunk_overlap_tokens))
        reader = Reader(Blobs(settings.blobs), parser, chunker, settings.max_document_bytes)
        consumer = DocumentConsumer(
            Indexer(passages, reader, Writer(passages, lanes)), producer, partial(datetime.now, UTC)
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
            register=partial(embed_service_pb2_grpc.add_EmbedServiceServicer_to_server, EmbedServicer(lanes, name)),
            names=[embed_service_pb2.DESCRIPTOR.services_by_name["EmbedService"].full_name],
            pings=(warm, passages.ping, producer.ping),
            tasks=(partial(consume, subscription, consumer.handle),),
        )
        await serve(service, stop, Transport.of(platform))


def _parse_limits(settings: Settings) -> ParseLimits:
    return ParseLimits(
        settings.max_document_bytes, settings.max_text_characters, settings.parse_seconds, settings.parse_memory_bytes
    )


if __name__ == "__main__":
    run(main)
