"""Starts the feedback service: reads settings, wires, serves."""

from contextlib import AsyncExitStack
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from uuid import uuid4

from services.common.answer_ids import AnswerIds
from services.common.bus import INTERACTIONS, open_producer
from services.common.bus_security import BusSecurity
from services.common.consuming import Subscription, consume
from services.common.database import Sessions, open_database, ping
from services.common.identity import IdentitySigner
from services.common.interceptors import signed_by
from services.common.outbox import Outbox
from services.common.permissions import open_permissions
from services.common.server import Service, run, serve
from services.common.settings import PlatformSettings
from services.common.telemetry import start_telemetry
from services.common.transport import Transport
from services.feedback.adapters.conversations import PostgresConversations
from services.feedback.adapters.erasure import PostgresErasure
from services.feedback.adapters.postgres import OUTBOX, SCHEMA, PostgresFeedback
from services.feedback.consumer import InteractionConsumer
from services.feedback.servicer import ERASURE, FEEDBACK, ErasureServicer, FeedbackServicer, Store, register
from services.feedback.settings import Settings

MIGRATIONS = Path(__file__).parent / "migrations"


async def main() -> None:
    platform, settings = PlatformSettings(), Settings()
    start_telemetry("feedback", platform.log_level, platform.traces)
    key = platform.identity_key.get_secret_value().encode()
    now = partial(datetime.now, UTC)
    async with AsyncExitStack() as resources:
        database = open_database(settings.database_url.get_secret_value(), MIGRATIONS, SCHEMA)
        sessions = await resources.enter_async_context(database)
        outbox = Outbox(OUTBOX)
        store = PostgresFeedback(sessions, outbox)
        manifest_url = settings.manifest_url.get_secret_value() or settings.database_url.get_secret_value()
        permissions = await resources.enter_async_context(open_permissions(manifest_url))
        erasure = ErasureServicer(PostgresErasure(sessions), now)
        kept = Store(store, PostgresConversations(sessions, outbox))
        servicer = FeedbackServicer(kept, permissions, AnswerIds(key), now, lambda: uuid4().hex)
        consumer = InteractionConsumer(store, now)
        subscription = Subscription(
            settings.bus,
            (INTERACTIONS,),
            "feedback",
            settings.batch_records,
            settings.rest_seconds,
            platform.bus_options,
        )
        service = Service(
            address=settings.address,
            metrics_address=settings.metrics_address,
            authenticate=signed_by(IdentitySigner(key).verify),
            register=register(servicer, erasure),
            names=(FEEDBACK, ERASURE),
            # The broker is no condition: without it ratings are kept, and published later.
            pings=(partial(ping, sessions), permissions.ping),
            tasks=(
                partial(consume, subscription, consumer.handle),
                partial(relay, outbox, sessions, settings.bus, platform.bus_options),
            ),
        )
        await serve(service, transport=Transport.of(platform))


async def relay(outbox: Outbox, sessions: Sessions, bus: str, security: BusSecurity) -> None:
    """Publish the outbox for ever, from when the broker is there."""
    async with open_producer(bus, security) as producer:
        await outbox.relay(sessions, producer)


if __name__ == "__main__":
    run(main)
