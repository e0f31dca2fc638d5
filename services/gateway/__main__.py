"""Starts the gateway: reads settings, wires, serves."""

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

import grpc
from tandem.gateway.v1 import audit_service_pb2, audit_service_pb2_grpc, erasure_service_pb2, erasure_service_pb2_grpc
from tandem.gateway.v1 import gateway_service_pb2 as pb
from tandem.gateway.v1 import gateway_service_pb2_grpc as rpc

from services.common.answer_ids import AnswerIds
from services.common.client import Outgoing, open_channel
from services.common.database import Sessions, open_database, ping
from services.common.identity import IdentitySigner
from services.common.quotas import TenantQuotas
from services.common.recent import Recent
from services.common.server import Service, Task, run, serve
from services.common.settings import PlatformSettings
from services.common.telemetry import start_telemetry
from services.gateway.adapters.audit import PostgresAudit
from services.gateway.adapters.audit_writer import AuditWriter
from services.gateway.adapters.bus import BusInteractionLog
from services.gateway.adapters.erasers import Eraser
from services.gateway.adapters.erasures import PostgresErasures
from services.gateway.adapters.postgres import MIGRATIONS, SCHEMA, PostgresApiKeys, PostgresAssistants
from services.gateway.adapters.quotas import Meter, PostgresKeyQuotas, open_storage
from services.gateway.adapters.services import Channels, Limits, Services
from services.gateway.domain.assistants import Assistant
from services.gateway.domain.keys import KeyMaker
from services.gateway.erasing import ErasureRunner
from services.gateway.servicer.access import AccessServicer
from services.gateway.servicer.answers import GatewayServicer, Oversight, Recording
from services.gateway.servicer.assistants import AssistantServicer
from services.gateway.servicer.audit import AuditServicer
from services.gateway.servicer.authentication import KeyAuthentication
from services.gateway.servicer.erasures import ErasureServicer
from services.gateway.servicer.forwarder import FORWARDED_NAMES, Forwarder
from services.gateway.servicer.witness import Witness
from services.gateway.settings import Settings

OWN_NAMES = tuple(
    service.full_name
    for file in (pb, audit_service_pb2, erasure_service_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
)


async def main() -> None:
    platform, settings = PlatformSettings(), Settings()
    start_telemetry("gateway", platform.log_level, platform.traces)
    key = platform.identity_key.get_secret_value().encode()
    async with AsyncExitStack() as resources:
        database = open_database(settings.database_url.get_secret_value(), MIGRATIONS, SCHEMA)
        sessions = await resources.enter_async_context(database)
        keys, assistants = PostgresApiKeys(sessions), PostgresAssistants(sessions)
        recent_keys = Recent(keys.find, settings.cache_seconds)
        recent_assistants = Recent(partial(_find, assistants), settings.cache_seconds)
        addresses = (
            settings.ingest_address,
            settings.retrieve_address,
            settings.generate_address,
            settings.feedback_address,
            settings.embed_address,
        )
        channels = Channels(*[await resources.enter_async_context(open_channel(address)) for address in addresses])
        log, maker, outgoing = BusInteractionLog(settings.bus), KeyMaker(key), Outgoing(IdentitySigner(key))
        limits = Limits(settings.retrieve_seconds, settings.generate_seconds, settings.feedback_seconds)
        books = _books(sessions, platform.quotas, settings, _erasers(channels, outgoing))
        recording = Recording(log, settings.record_seconds, AnswerIds(key))
        gateway = GatewayServicer(Services(channels, outgoing, limits), recent_assistants, recording, books.oversight)
        forwarder = Forwarder(outgoing, settings.forward_seconds)

        def register(server: grpc.aio.Server) -> None:
            rpc.add_GatewayServiceServicer_to_server(gateway, server)
            rpc.add_AccessServiceServicer_to_server(AccessServicer(keys, maker, recent_keys.forget), server)
            rpc.add_AssistantServiceServicer_to_server(AssistantServicer(assistants, recent_assistants), server)
            books.register(server)
            server.add_generic_rpc_handlers(tuple(forwarder.handlers(channels)))

        service = Service(
            address=settings.address,
            metrics_address=settings.metrics_address,
            authenticate=KeyAuthentication(maker, recent_keys),
            register=register,
            names=OWN_NAMES + FORWARDED_NAMES,
            pings=(partial(ping, sessions), log.ping),
            tasks=(log.run, *books.tasks),
            witness=books.oversight.witness,
        )
        await serve(service)


@dataclass(frozen=True, slots=True)
class Books:
    """What is counted, written down, and taken out again."""

    oversight: Oversight
    register: Callable[[grpc.aio.Server], None]
    tasks: Sequence[Task]


def _books(sessions: Sessions, quotas: TenantQuotas, settings: Settings, erasers: Sequence[Eraser]) -> Books:
    audit, erasures = PostgresAudit(sessions), PostgresErasures(sessions)
    writer, erasing = AuditWriter(audit.add), ErasureRunner(erasures, erasers, partial(datetime.now, UTC))
    key_quotas = Recent(PostgresKeyQuotas(sessions).find, settings.cache_seconds)
    meter = Meter(open_storage(settings.quota_storage), quotas, key_quotas.get)

    def register(server: grpc.aio.Server) -> None:
        audit_service_pb2_grpc.add_AuditServiceServicer_to_server(AuditServicer(audit), server)
        erasure_service_pb2_grpc.add_ErasureServiceServicer_to_server(ErasureServicer(erasures, erasing.wake), server)

    return Books(Oversight(meter, Witness(writer)), register, (writer.run, erasing.run))


def _erasers(channels: Channels, outgoing: Outgoing) -> Sequence[Eraser]:
    """Return an eraser for each service that keeps something, in the order in which documents and answers flow."""
    keeping = {
        "ingest": channels.ingest,
        "embed": channels.embed,
        "generate": channels.generate,
        "feedback": channels.feedback,
    }
    return [Eraser(name, channel, outgoing) for name, channel in keeping.items()]


async def _find(assistants: PostgresAssistants, tenant_and_name: tuple[str, str]) -> Assistant | None:
    return await assistants.find(*tenant_and_name)


if __name__ == "__main__":
    run(main)
