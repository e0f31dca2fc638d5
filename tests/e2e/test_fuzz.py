"""Every RPC takes what nobody would send: it is answered, and nothing breaks, dies or hangs."""

import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.common.access import is_read
from tests.company import Company
from tests.fuzzing import messages, mutated
from tests.messages import every_rpc, path_of
from tests.proving import GATEWAY, Metadata, Place, Proving, bearer, proving, signed
from tests.tandem_command import Tandem

EXAMPLES = int(os.environ.get("TANDEM_FUZZ_EXAMPLES", "24"))
pytestmark = pytest.mark.timeout(240 + 2 * EXAMPLES)

# Whoever waits longer than the deadline of tests.proving hangs: no request here is worth that.
BROKEN = {
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.UNIMPLEMENTED,
    # The caller is the tenant's admin, and must stay so.
    grpc.StatusCode.UNAUTHENTICATED,
}
KNOWN = 60
# What can erase a whole tenant by one field.
ERASE = "/tandem.erasure.v1.ErasureService/Erase"
# Those that read come first, while there is something to be read.
RPCS = {path_of(method): method for method in sorted(every_rpc(), key=lambda method: not is_read(path_of(method)))}


@dataclass
class World:
    """A platform with a tenant that nothing else needs."""

    platform: Proving
    tenant: Company

    @property
    def known(self) -> tuple[str, ...]:
        """Texts that name what is there; none that would let a call erase the tenant or end its admin's key."""
        own = (self.tenant.tenant_id, self.tenant.secret)
        texts = sorted(value for value in self.tenant.texts() if len(value) < KNOWN)
        return tuple(value for value in texts if not any(value in each for each in own))

    def admin(self, place: Place, path: str) -> Metadata:
        if place.name == GATEWAY:
            return bearer(self.tenant.secret)
        tenant_id = self.tenant.tenant_id
        return signed(self.platform.signer(), f"{tenant_id}-erased" if path == ERASE else tenant_id)


@pytest.fixture(scope="module")
def world(memory_platform: Tandem) -> Iterator[World]:
    for platform in proving(memory_platform):
        yield World(platform, settled(platform))


def settled(platform: Proving) -> Company:
    """Return a new tenant with one of everything."""
    [account] = platform.tenants(["fuzzed"]).values()
    return Company(account.tenant_id, f"mark{secrets.token_hex(4)}", account.secret, platform.gateway).settle()


@pytest.mark.parametrize("path", RPCS)
def test_whatever_is_sent_is_answered(world: World, path: str):
    method, before = RPCS[path], world.platform.processes()
    sound = messages(method.input_type, world.known)

    @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck), database=None)
    @given(st.one_of(sound.map(lambda message: message.SerializeToString()), mutated(sound)))
    def is_answered(body: bytes) -> None:
        for place in world.platform.places.values():
            if place.offers(method):
                outcome = place.call(method, body, world.admin(place, path))
                assert outcome.code not in BROKEN, (place.name, outcome)

    is_answered()
    assert world.platform.processes() == before, "a process died"


def test_everybody_is_served_after_all_that(world: World):
    # Documents are indexed and answers recorded again: nothing that was sent blocks what comes after it.
    settled(world.platform)
