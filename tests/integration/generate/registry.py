"""The registry's side of the event log: aliases that move, and what replicas report."""

import asyncio
import contextlib
from dataclasses import dataclass, field

from tandem.generate.v1.events_pb2 import (
    ADAPTER_READINESS_FAILED,
    ADAPTER_READINESS_READY,
    ADAPTER_READINESS_UNLOADED,
    AdapterReported,
)
from tandem.tune.v1.events_pb2 import AdapterRef, AliasState

from services.common.bus import ADAPTERS, ADAPTERS_REPORTED, BusUnavailable, Producer, key_of, traced
from services.common.following import Following, follow
from tests.unit.generate.waiting import eventually

READY, FAILED, UNLOADED = ADAPTER_READINESS_READY, ADAPTER_READINESS_FAILED, ADAPTER_READINESS_UNLOADED
WAIT_SECONDS = 120


def pointing(tenant, live="", revision=1, *, name="support", canary="", share=0.0, **fields) -> AliasState:
    """Return the state of a tenant's alias; every adapter is cleared, and ada's."""
    state = AliasState(tenant_id=tenant, alias=name, revision=revision, **fields)
    for each, digest in (("live", live), ("canary", canary)):
        if digest:
            getattr(state, each).CopyFrom(AdapterRef(digest=digest, cleared=True, owner="user:ada"))
    if canary:
        state.canary_id, state.canary_share = f"canary-{revision}", share
    return state


@dataclass
class Registry:
    """Publishes aliases' states of one tenant, and keeps its replicas' reports."""

    producer: Producer
    tenant: str
    reports: list[AdapterReported] = field(default_factory=list)

    async def point(self, live="", revision=1, **fields):
        state = pointing(self.tenant, live, revision, **fields)
        await self.producer.send([traced(ADAPTERS, key_of(self.tenant, state.alias), state.SerializeToString())])

    def handle(self, records):
        reports = [AdapterReported.FromString(record.value) for record in records]
        self.reports += [each for each in reports if each.tenant_id == self.tenant]

    async def until(self, digest, readiness=READY, revision=None):
        """Wait for a report, and return it."""

        def found():
            return [
                each
                for each in self.reports
                if (each.digest, each.readiness) == (digest, readiness) and revision in (None, each.revision)
            ]

        async def told():
            return bool(found())

        await eventually(told, WAIT_SECONDS)
        return found()[0]


@contextlib.asynccontextmanager
async def registry_on(bootstrap, tenant):
    """Give a registry for one tenant."""
    producer = Producer(bootstrap)
    registry = Registry(producer, tenant)
    following = Following(bootstrap, ADAPTERS_REPORTED, registry.handle, lambda: None)
    task = asyncio.create_task(follow(following))
    try:
        await producer.start()
        yield registry
    finally:
        task.cancel()
        await asyncio.wait({task})
        await producer.stop()


async def until_published(registry, *arguments, **fields):
    """Publish a state as soon as the broker takes it."""
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            with contextlib.suppress(BusUnavailable):
                await registry.point(*arguments, **fields)
                return
            await asyncio.sleep(0.2)
