"""The registry on a real database: adapters in a store, aliases, and records as the topics bring them."""

import asyncio
import itertools
from datetime import UTC, datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy import select
from tandem.feedback.v1 import events_pb2 as feedback_pb
from tandem.generate.v1 import events_pb2 as generate_pb
from tandem.tune.v1 import events_pb2 as tune_pb

from services.common.access import Role
from services.common.bus import ANSWERS_FAILED, INTERACTIONS, RATINGS, Record, key_of
from services.common.identity import Identity
from services.common.lora.card import Card
from services.common.lora.signing import AdapterSigner
from services.common.lora.store import AdapterStore
from services.common.outbox import Outbox
from services.tune.adapters.aliases import PostgresAliases
from services.tune.adapters.canaries import PostgresCanaries
from services.tune.adapters.registry import PostgresAdapters
from services.tune.adapters.registry_tables import OUTBOX
from services.tune.canarying import CanaryWatcher
from services.tune.consumer import RegistryConsumer
from services.tune.domain.adapters import AdapterReport, RegisteredAdapter, RuleResult
from services.tune.domain.runs import Lineage
from services.tune.moving import Mover
from tests.integration.tune.running import SIGNING_KEY, tenant
from tests.tiny_adapter import write_adapter

BEGUN = datetime(2026, 11, 30, tzinfo=UTC)
PASSED = AdapterReport(
    True, (RuleResult("preferences", True, True, 0.2, 0.0, 0.1, 0.3),), "", {"f1": 0.5}, {"items": [1]}
)
FAILED = AdapterReport(False, (RuleResult("preferences", False, True, -0.1, 0.0, -0.2, 0.1),), "")


class Registry:
    """One tenant's registry, with a clock that goes on by a second each time that it is read."""

    def __init__(self, sessions, folder) -> None:
        self.sessions, self._folder = sessions, folder
        self.tenant_id = tenant()
        self.now, self._numbers = BEGUN, itertools.count()
        self.outbox = Outbox(OUTBOX)
        self.store = AdapterStore(str(folder / "blobs"))
        self.adapters = PostgresAdapters(sessions, self.store)
        self.aliases = PostgresAliases(sessions, self.outbox, self.tick, lambda: f"c{next(self._numbers)}")
        self.canaries = PostgresCanaries(sessions)
        self.mover = Mover(self.adapters, self.aliases)
        self.watcher = CanaryWatcher(self.canaries, self.aliases, lambda: self.now)
        self.consumer = RegistryConsumer(self.canaries, self.adapters, lambda: None)
        self.trainer = Identity(self.tenant_id, "user:ada", (), frozenset({Role.TRAINER}))
        self.admin = Identity(self.tenant_id, "user:root", (), frozenset({Role.ADMIN}))

    def tick(self):
        self.now += timedelta(seconds=1)
        return self.now

    async def make(self, report=PASSED, documents=(), people=()):
        """Register an adapter as a run does, and return its digest."""
        number = next(self._numbers)
        folder = write_adapter(self._folder / f"adapter-{number}", seed=number)
        card = Card("", self.tenant_id, "run", "tiny", 2, "sft", "", "", 1, BEGUN.isoformat())
        digest = await self.store.publish(folder, card, AdapterSigner(SIGNING_KEY))
        entry = RegisteredAdapter(
            self.tenant_id,
            digest,
            "run",
            "tiny",
            2,
            "sft",
            "d" * 64,
            "",
            1,
            Lineage(tuple(documents), tuple(people)),
            "user:ada",
            self.tick(),
            report,
        )
        await self.adapters.register(entry)
        return digest

    async def published(self):
        """Return what waits to be published of this tenant, oldest first."""
        query = select(OUTBOX.c.value).where(OUTBOX.c.lane == self.tenant_id).order_by(OUTBOX.c.id)
        async with self.sessions() as session:
            return [tune_pb.AliasState.FromString(value) for value in await session.scalars(query)]

    async def answered(self, canary_id, interaction_id, *, canary, **fields):
        """Hand an interaction over, as the topic would."""
        told = {
            "tenant_id": self.tenant_id,
            "interaction_id": interaction_id,
            "conversation_id": f"talk {interaction_id}",
            "subject": "user:asker",
            "canary_id": canary_id,
            "canary": canary,
            "asked_at": stamp(self.tick()),
        }
        await self.hand(INTERACTIONS, feedback_pb.Interaction(**told | fields))

    async def rated(self, interaction_id, *, up, by="user:bob", rating_id=""):
        """Hand a rating over."""
        rating = feedback_pb.RatingRecorded(
            tenant_id=self.tenant_id,
            rating_id=rating_id or f"{interaction_id} by {by}",
            interaction_id=interaction_id,
            subject=by,
            thumb=feedback_pb.THUMB_UP if up else feedback_pb.THUMB_DOWN,
            rated_at=stamp(self.tick()),
        )
        await self.hand(RATINGS, rating)

    async def failed(self, canary_id, conversation_id, *, canary):
        """Hand over that an answer broke off."""
        failed = generate_pb.AnswerFailed(
            tenant_id=self.tenant_id,
            conversation_id=conversation_id,
            canary_id=canary_id,
            canary=canary,
            reason="ENGINE_DEAD",
            failed_at=stamp(self.tick()),
        )
        await self.hand(ANSWERS_FAILED, failed)

    async def hand(self, topic, message):
        await self.consumer.handle([Record(topic, key_of(self.tenant_id, "x"), message.SerializeToString())])


def stamp(at):
    message = Timestamp()
    message.FromDatetime(at)
    return message


async def together(*calls):
    """Return what each call gives, or raises."""
    return await asyncio.gather(*calls, return_exceptions=True)
