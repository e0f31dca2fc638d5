"""Starts the retrieve service."""

import asyncio
import contextlib
import logging
import tempfile
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from services.common.analysis import load_language_model
from services.common.client import Outgoing, open_channel
from services.common.database import open_database
from services.common.identity import IdentitySigner
from services.common.indexes import open_indexes
from services.common.interceptors import signed_by
from services.common.permissions import open_permissions
from services.common.placements import open_placements
from services.common.places import MilvusPlaces
from services.common.rerankers import Rerankers
from services.common.server import Service, run, serve
from services.common.settings import PlatformSettings
from services.common.telemetry import start_telemetry
from services.common.transport import Transport
from services.retrieve.adapters.cross_encoder import Shelf, open_reranker
from services.retrieve.adapters.embedder import GrpcQueryEmbedder
from services.retrieve.adapters.placed import PlacedPassageIndex
from services.retrieve.adapters.postgres import SCHEMA, PostgresTunings
from services.retrieve.choice import IndexChoice
from services.retrieve.finding import Finder, Languages, Sight
from services.retrieve.judging import Judge
from services.retrieve.reranking import Reranking
from services.retrieve.searching import Searcher
from services.retrieve.servicer import (
    ERASURE,
    RETRIEVE,
    TUNING,
    ErasureServicer,
    Faces,
    RetrieveServicer,
    TuningServicer,
)
from services.retrieve.settings import Settings

MIGRATIONS = Path(__file__).parent / "migrations"


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
        database_url = settings.database_url.get_secret_value()
        permissions = await stack.enter_async_context(open_permissions(database_url))
        placements = await stack.enter_async_context(open_placements(database_url))
        sessions = await stack.enter_async_context(open_database(database_url, MIGRATIONS, SCHEMA))
        await asyncio.to_thread(load_language_model)
        tunings = PostgresTunings(sessions, partial(datetime.now, UTC))
        embedder, index = GrpcQueryEmbedder(channel), PlacedPassageIndex(places, placements)
        languages = Languages(settings.languages, settings.model_languages)
        configurations = await stack.enter_async_context(open_indexes(database_url))
        sight = Sight(IndexChoice(configurations), permissions)
        finder = Finder(embedder, index, sight, Outgoing(signer), languages)
        reranker = await stack.enter_async_context(open_reranker(_shelf(settings)))
        reranking = Reranking(reranker, settings.rerank_seconds, by_default=bool(settings.reranker))
        searcher = Searcher(finder, tunings, reranking, _now_ms)
        faces = Faces(
            RetrieveServicer(finder, searcher),
            TuningServicer(tunings, Judge(finder, tunings)),
            ErasureServicer(tunings.erase),
        )
        await serve(
            Service(
                address=settings.address,
                metrics_address=settings.metrics_address,
                authenticate=signed_by(signer.verify),
                register=faces.register,
                names=(RETRIEVE, TUNING, ERASURE),
                pings=(index.ping, placements.ping, configurations.ping, permissions.ping, embedder.ping),
            ),
            transport=transport,
        )


def _shelf(settings: Settings) -> Shelf:
    blobs = settings.blobs.get_secret_value()
    cache = settings.cache or Path(tempfile.gettempdir()) / "tandem-retrieve"
    return Shelf(
        own=settings.reranker,
        tenants=Rerankers(blobs) if blobs else None,
        cache=cache / "rerankers",
        tokens=settings.rerank_tokens,
        loaded=settings.rerankers_loaded,
    )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


if __name__ == "__main__":
    run(main)
