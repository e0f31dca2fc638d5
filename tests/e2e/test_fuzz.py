"""Every RPC takes what nobody would send: it is answered, and nothing breaks, dies or hangs."""

import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.company import Company
from tests.fuzzing import messages, mutated
from tests.messages import every_rpc, path_of
from tests.proving import GATEWAY, Metadata, Place, Proving, bearer, proving, signed
from tests.tandem_command import home_in

EXAMPLES = int(os.environ.get("TANDEM_FUZZ_EXAMPLES", "24"))
pytestmark = pytest.mark.timeout(120 + 2 * EXAMPLES)

# Whoever waits longer than the deadline of tests.proving hangs: no request here is worth that.
BROKEN = {
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.UNIMPLEMENTED,
}
KNOWN = 60
RPCS = {path_of(method): method for method in every_rpc()}


@dataclass
class World:
    """A platform with a tenant that nothing else needs."""

    platform: Proving
    tenant: Company

    @property
    def known(self) -> tuple[str, ...]:
        """Texts that name what is there; none that would let a call erase the tenant."""
        texts = sorted(value for value in self.tenant.texts() if value != self.tenant.name and len(value) < KNOWN)
        return tuple(texts)

    def admin(self, place: Place) -> Metadata:
        if place.name == GATEWAY:
            return bearer(self.tenant.secret)
        # Behind, one that comes and goes: a whole tenant may be erased there by one field.
        return signed(self.platform.signer(), f"{self.tenant.name}-behind")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with home_in(tmp_path_factory.mktemp("fuzz"), seconds=200) as command:
        command.up("--engine", "memory")
        for platform in proving(command):
            [(name, secret)] = platform.tenants(["fuzzed"]).items()
            tenant = Company(name, f"mark{secrets.token_hex(4)}", secret, platform.gateway).settle()
            before = platform.processes()
            yield World(platform, tenant)
            assert platform.processes() == before, "a process died"


@pytest.mark.parametrize("path", RPCS)
def test_whatever_is_sent_is_answered(world: World, path: str):
    method, before = RPCS[path], world.platform.processes()
    sound = messages(method.input_type, world.known)

    @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck), database=None)
    @given(st.one_of(sound.map(lambda message: message.SerializeToString()), mutated(sound)))
    def is_answered(body: bytes) -> None:
        for place in world.platform.places.values():
            if place.offers(method):
                outcome = place.call(method, body, world.admin(place))
                assert outcome.code not in BROKEN, (place.name, outcome)

    is_answered()
    assert world.platform.processes() == before, "a process died"
