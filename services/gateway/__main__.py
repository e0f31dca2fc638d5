"""Starts the gateway: reads settings, wires, serves."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

import grpc
from tandem.gateway.v1 import audit_service_pb2 as audit_pb
from tandem.gateway.v1 import audit_service_pb2_grpc as audit_rpc
from tandem.gateway.v1 import directory_service_pb2 as directory_pb
from tandem.gateway.v1 import directory_service_pb2_grpc as directory_rpc
from tandem.gateway.v1 import erasure_service_pb2 as erasure_pb
from tandem.gateway.v1 import erasure_service_pb2_grpc as erasure_rpc
from tandem.gateway.v1 import gateway_service_pb2 as pb
from tandem.gateway.v1 import gateway_service_pb2_grpc as rpc

from services.common.analysis import load_language_model
from services.common.answer_ids import AnswerIds
from services.common.client import Outgoing, open_channel
from services.common.database import Sessions, open_database, ping
from services.common.grounding.abstention import Thresholds
from services.common.identity import IdentitySigner, system
from services.common.placements import Placements, open_placements
from services.common.recent import Recent
from services.common.server import Service, Task, run, serve
from services.common.settings import Place, PlatformSettings
from services.common.telemetry import start_telemetry
from services.gateway.adapters.assistants import PostgresAssistants
from services.gateway.adapters.audit import PostgresAudit
from services.gateway.adapters.audit_writer import AuditWriter
from services.gateway.adapters.bus import BusInteractionLog
from services.gateway.adapters.directory import PostgresDirectory
from services.gateway.adapters.engines import Engines, engine_addresses
from services.gateway.adapters.entailment import open_entailment
from services.gateway.adapters.erasers import Eraser
from services.gateway.adapters.erasures import PostgresErasures
from services.gateway.adapters.issuer_keys import open_issuers
from services.gateway.adapters.postgres import MIGRATIONS, SCHEMA, PostgresApiKeys
from services.gateway.adapters.quotas import Meter, open_storage, quotas_of
from services.gateway.adapters.services import Channels, Limits, Services
from services.gateway.checking import Checks, Judge
from services.gateway.domain.assistants import Assistant
from services.gateway.domain.keys import KeyMaker
from services.gateway.erasing import ErasureRunner
from services.gateway.servicer.access import AccessServicer
from services.gateway.servicer.answers import GatewayServicer, Methods, Oversight, Recording
from services.gateway.servicer.assistants import AssistantServicer
from services.gateway.servicer.audit import AuditServicer
from services.gateway.servicer.authentication import MOST_PEOPLE, Authentication, Keys, Tokens
from services.gateway.servicer.directory import DirectoryServicer
from services.gateway.servicer.erasures import ErasureServicer
from services.gateway.servicer.forwarder import FORWARDED_NAMES, Forwarder
from services.gateway.servicer.rewriting import Rewriter
from services.gateway.servicer.witness import Witness
from services.gateway.settings import Settings

# What adds a servicer to a server, and the servicer.
Face = tuple[Callable[[Any, grpc.aio.Server], None], object]
OWN_NAMES = tuple(
    service.full_name
    for file in (pb, directory_pb, audit_pb, erasure_pb)
    for service in file.DESCRIPTOR.services_by_name.values()
)


async def main() -> None:
    platform, settings = PlatformSettings(), Settings()
    start_telemetry("gateway", platform.log_level, platform.traces)
    key = platform.identity_key.get_secret_value().encode()
    async with AsyncExitStack() as resources:
        database = open_database(settings.database_url.get_secret_value(), MIGRATIONS, SCHEMA)
        sessions = await resources.enter_async_context(database)
        keys, assistants, directory = (
            PostgresApiKeys(sessions),
            PostgresAssistants(sessions),
            PostgresDirectory(sessions),
        )
        recent_keys = Recent(keys.find, settings.cache_seconds)
        people = Recent(directory.expand, settings.cache_seconds, MOST_PEOPLE)
        issuers = await resources.enter_async_context(open_issuers(settings.oidc_issuers))
        recent_assistants = Recent(partial(_find, assistants), settings.cache_seconds)
        placements = await resources.enter_async_context(open_placements(settings.database_url.get_secret_value()))
        transport = settings.transport(platform)

        async def opened(address: str) -> grpc.aio.Channel:
            return await resources.enter_async_context(open_channel(address, transport))

        channels = await _open_channels(opened, settings, platform.places, placements)
        log = BusInteractionLog(settings.bus, platform.bus_options)
        maker, outgoing = KeyMaker(key), Outgoing(IdentitySigner(key))
        limits = Limits(settings.retrieve_seconds, settings.generate_seconds, settings.feedback_seconds)
        meter = Meter(open_storage(settings.quota_storage), platform.quotas, quotas_of(recent_keys))
        books = _books(sessions, meter, _erasers(channels, outgoing))
        recording = Recording(log, settings.record_seconds, AnswerIds(key))
        services = Services(channels, outgoing, limits)
        rewriter = Rewriter(services, by_model=settings.rewriter == "model", seconds=settings.rewrite_seconds)
        methods = Methods(rewriter, await asyncio.to_thread(_checks, settings))
        gateway = GatewayServicer(services, recent_assistants, methods, recording, books.oversight)
        forwarder = Forwarder(outgoing, settings.forward_seconds)
        faces: tuple[Face, ...] = (
            (rpc.add_GatewayServiceServicer_to_server, gateway),
            (rpc.add_AccessServiceServicer_to_server, AccessServicer(keys, maker, recent_keys.forget)),
            (rpc.add_AssistantServiceServicer_to_server, AssistantServicer(assistants, recent_assistants)),
            (directory_rpc.add_DirectoryServiceServicer_to_server, DirectoryServicer(directory, people)),
        )

        def register(server: grpc.aio.Server) -> None:
            for add, face in (*faces, *books.faces):
                add(face, server)
            server.add_generic_rpc_handlers(tuple(forwarder.handlers(channels)))

        service = Service(
            address=settings.address,
            metrics_address=settings.metrics_address,
            authenticate=Authentication(Keys(maker, recent_keys), Tokens(issuers, settings.cache_seconds), people),
            register=register,
            names=OWN_NAMES + FORWARDED_NAMES,
            pings=(partial(ping, sessions), placements.ping, log.ping),
            tasks=(log.run, *books.tasks),
            witness=books.oversight.witness,
        )
        await serve(service, transport=transport)


def _checks(settings: Settings) -> Checks:
    """Return how answers are checked; blocks, for models are read."""
    load_language_model()
    thresholds = Thresholds(settings.abstain_below, settings.abstain_unsupported_below)
    if not settings.entailment:
        return Checks(None, thresholds, settings.languages)
    entailment = open_entailment(settings.entailment)
    judge = Judge(entailment, settings.entailment_seconds, settings.entailment_least)
    return Checks(judge, thresholds, settings.languages)


async def _open_channels(
    opened: Callable[[str], Awaitable[grpc.aio.Channel]],
    settings: Settings,
    places: Mapping[str, Place],
    placements: Placements,
) -> Channels:
    own = {name: place.generate_address for name, place in places.items()}
    addresses = engine_addresses(settings.generate_address, own)
    engines = Engines({place: await opened(address) for place, address in addresses.items()}, placements)
    return Channels(
        ingest=await opened(settings.ingest_address),
        retrieve=await opened(settings.retrieve_address),
        generate=engines,
        feedback=await opened(settings.feedback_address),
        embed=await opened(settings.embed_address),
        tune=await opened(settings.tune_address),
    )


@dataclass(frozen=True, slots=True)
class Books:
    """What is counted, written down, and taken out again."""

    oversight: Oversight
    faces: tuple[Face, ...]
    tasks: Sequence[Task]


def _books(sessions: Sessions, meter: Meter, erasers: Sequence[Eraser]) -> Books:
    audit, erasures = PostgresAudit(sessions), PostgresErasures(sessions)
    writer, erasing = AuditWriter(audit.add), ErasureRunner(erasures, erasers, partial(datetime.now, UTC))
    faces: tuple[Face, ...] = (
        (audit_rpc.add_AuditServiceServicer_to_server, AuditServicer(audit)),
        (erasure_rpc.add_ErasureServiceServicer_to_server, ErasureServicer(erasures, erasing.wake)),
    )
    return Books(Oversight(meter, Witness(writer)), faces, (writer.run, erasing.run))


def _erasers(channels: Channels, outgoing: Outgoing) -> Sequence[Eraser]:
    """Return an eraser for each service that keeps something, in the order in which documents and answers flow."""
    engines = [("generate", channel) for channel in channels.generate.all()]
    keeping = [
        ("ingest", channels.ingest),
        ("embed", channels.embed),
        ("retrieve", channels.retrieve),
        *engines,
        ("feedback", channels.feedback),
        ("tune", channels.tune),
    ]
    return [Eraser(name, channel, outgoing) for name, channel in keeping]


async def _find(assistants: PostgresAssistants, tenant_and_name: tuple[str, str]) -> Assistant | None:
    tenant_id, name = tenant_and_name
    return await assistants.find(system(tenant_id, "gateway"), name)


if __name__ == "__main__":
    run(main)
