"""Every RPC of every service, as nobody, as somebody without the role, and as the admin of another tenant.

What is called comes from the protos alone: a new RPC is tried as soon as it is there.
"""

import base64
import re
import secrets
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import grpc
import jwt
import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from services.common.access import EVERY_ROLE, Role, is_read, required_role
from services.common.identity import METADATA_KEY, IdentitySigner
from services.gateway.domain.delegation import AUDIENCE
from services.gateway.servicer.authentication import ON_BEHALF_OF
from services.gateway.servicer.witness import is_act
from tests.company import Company, State, state_of
from tests.messages import every_rpc, filled, made_up, path_of, replaced
from tests.proving import GATEWAY, Account, Metadata, Outcome, Place, Proving, bearer, proving, signed
from tests.tandem_command import Tandem

pytestmark = pytest.mark.timeout(300)

REQUESTS = 40
MEASURED = 30
# Machines are noisy: this finds a look-up that does other work, not one that takes a little longer.
TIMES, PLUS_SECONDS = 2.0, 0.003
SHORTEST_TRACE = 6
# How principals begin.
KINDS = ("user:", "group:", "key:")
# They name what is on the host, or where a page begins: no object of a tenant's.
NO_OBJECTS = ("/", "https://")

RPCS = {path_of(method): method for method in every_rpc()}
REFUSED = {grpc.StatusCode.UNAUTHENTICATED}
BROKEN = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.UNAVAILABLE}
every = pytest.mark.parametrize("path", RPCS)


@dataclass
class World:
    """The victim with its objects, somebody else who has as many, and the platform that both are on."""

    platform: Proving
    victim: Company
    other: Company
    strangers: dict[str, Account]
    revoked: str
    expired: str
    application: str
    keys: dict[Role, str]
    state: State | None = None

    def places(self, method: MethodDescriptor) -> list[Place]:
        found = [place for place in self.platform.places.values() if place.offers(method)]
        assert found, f"nobody serves {path_of(method)}"
        return found

    @cached_property
    def own(self) -> set[str]:
        """What is the victim's alone: another tenant with as many objects has not seen it."""
        found = self.victim.texts() - self.other.texts()
        return {value for value in found if len(value) >= SHORTEST_TRACE}

    def stranger(self, place: Place, path: str) -> Metadata:
        """Return the credential of another tenant's admin, who reads as every principal that the victim has."""
        account = self.strangers[path]
        if place.name == GATEWAY:
            return bearer(account.secret)
        principals = sorted(value for value in self.own if value.startswith(KINDS))
        return signed(self.platform.signer(), account.tenant_id, principals=principals)


@pytest.fixture(scope="module")
def world(memory_platform: Tandem) -> Iterator[World]:
    for platform in proving(memory_platform):
        world = _peopled(platform)
        yield world
        assert_unchanged(world)


def _peopled(platform: Proving) -> World:
    # A tenant for each RPC: what one call left must not look like a trace in another's answer.
    strangers = dict(
        zip(RPCS, platform.tenants([f"stranger-{number}" for number in range(len(RPCS))]).values(), strict=True)
    )
    victim, other = (
        Company(account.tenant_id, f"mark{secrets.token_hex(4)}", account.secret, platform.gateway)
        for account in platform.tenants(["victim", "other"]).values()
    )
    soon = Timestamp(seconds=int(time.time()) + 3)
    revoked, expired = victim.key(Role.READER), victim.key(*EVERY_ROLE, expires_at=soon)
    application = victim.key(*EVERY_ROLE, acts_for_users=True)
    keys = {role: victim.key(*(EVERY_ROLE - {role, Role.ADMIN})) for role in Role}
    victim.revoke(revoked)
    victim.until_refused(expired)
    other.settle()
    return World(platform, victim.settle(), other, strangers, revoked, expired, application, keys)


@every
def test_nobody_is_served_without_a_credential(world: World, path: str):
    for place in world.places(RPCS[path]):
        assert place.call(RPCS[path], b"", ()).code in REFUSED, place.name


@every
def test_the_gateway_takes_no_rpc_but_those_in_the_table(world: World, path: str):
    gateway = world.platform.gateway
    if not gateway.offers(RPCS[path]):
        assert gateway.call(RPCS[path], b"", world.victim.admin).code is grpc.StatusCode.UNIMPLEMENTED


@every
def test_credentials_that_are_void_are_refused(world: World, path: str):
    for place in world.places(RPCS[path]):
        for name, metadata in _void(world, place).items():
            for request in (b"", *filled(RPCS[path].input_type, world.victim.pool, 3), b"\xff\xff"):
                assert place.call(RPCS[path], request, metadata).code in REFUSED, (place.name, name)


def _void(world: World, place: Place) -> dict[str, Metadata]:
    platform = world.platform
    tenant = world.victim.tenant_id
    sound = signed(platform.signer(), tenant)
    forged = signed(IdentitySigner(b"another key of the same length!!!"), tenant)
    expired = signed(platform.signer(lambda: time.time() - 3600), tenant)
    [(key, token)] = sound
    altered = ((key, bytes(token[:-1]) + bytes([token[-1] ^ 1])),)
    void = {"forged": forged, "expired": expired, "altered": altered, "empty": ((METADATA_KEY, b""),)}
    if place.name != GATEWAY:
        # Behind the gateway, keys are worth nothing.
        return void | {"a key": world.victim.admin}
    made_up_key = made_up(world.victim.secret.rpartition("_")[0]) + "_" + world.victim.secret.rpartition("_")[2]
    wrong_secret = world.victim.secret[:-4] + "AAAA"
    return void | {
        "a signed identity": sound,
        "revoked": bearer(world.revoked),
        "expired": bearer(world.expired),
        "another's assertion": speaking(world.application, assertion(world.victim.secret)),
        "an old assertion": speaking(world.application, assertion(world.application, -120)),
        "no assertion": speaking(world.application, "ada"),
        "unknown": bearer(made_up_key),
        "wrong secret": bearer(wrong_secret),
        "no key": bearer(""),
        "another scheme": (("authorization", f"Basic {world.victim.secret}"),),
    }


def speaking(secret: str, text: str) -> Metadata:
    return (*bearer(secret), (ON_BEHALF_OF, text))


def assertion(secret: str, seconds: int = 60) -> str:
    """Return what says that an application speaks for a user, good for `seconds` from now."""
    until = int(time.time()) + seconds
    return jwt.encode({"sub": "ada", "aud": AUDIENCE, "iat": until - 60, "exp": until}, secret, "HS256")


@every
def test_every_role_but_the_one_needed_is_not_enough(world: World, path: str):
    needed = required_role(path)
    for place in world.places(RPCS[path]):
        roles = EVERY_ROLE - {needed, Role.ADMIN}
        behind = signed(world.platform.signer(), world.victim.tenant_id, roles)
        metadata = bearer(world.keys[needed]) if place.name == GATEWAY else behind
        for request in (b"", *filled(RPCS[path].input_type, world.victim.pool, 3), b"\xff\xff"):
            outcome = place.call(RPCS[path], request, metadata)
            assert outcome.code is grpc.StatusCode.PERMISSION_DENIED, (place.name, outcome)
            assert_no_trace(outcome, world.own, request)


@every
def test_a_stranger_with_real_ids_learns_nothing_and_changes_nothing(world: World, path: str):
    method = RPCS[path]
    state_before(world)
    for place in world.places(method):
        sent: list[Message] = []
        for request in filled(method.input_type, world.victim.pool, REQUESTS):
            outcome = place.call(method, request, world.stranger(place, path))
            # What a call that leaves something has left may be shown again by the next.
            sent = [request] if is_read(path) and not is_act(path) else [*sent, request]
            assert outcome.code not in BROKEN | {grpc.StatusCode.UNIMPLEMENTED}, (place.name, request, outcome)
            assert_no_trace(outcome, world.own, *sent)
            if is_read(path):
                assert_as_if_it_never_was(world, place, method, request, outcome)
    # Where it would be seen first; all the rest is looked at in the end.
    if not is_read(path):
        assert_unchanged(world, path.rpartition("/")[0])


def assert_unchanged(world: World, service: str = "") -> None:
    """Check that the victim's own admin is shown what was shown before anybody else did anything."""
    before = {key: value for key, value in state_before(world).items() if key[0].startswith(service)}
    assert state_of(world.victim, before) == before


def state_before(world: World) -> State:
    """Return what of the victim's state is the same whenever it is read."""
    if world.state is None:
        first = state_of(world.victim)
        again = state_of(world.victim)
        world.state = {key: value for key, value in first.items() if again[key] == value}
        told = {path for path, _ in world.state}
        lists = {path for path in RPCS if is_read(path) and world.platform.gateway.offers(RPCS[path])}
        moving = {path for path in lists - told if not path.endswith("/Search")}
        assert not moving, "what is never the same twice cannot be compared"
    return world.state


def assert_no_trace(outcome: Outcome, own: set[str], *sent: Message | bytes) -> None:
    """Check that nothing of the victim's is in an outcome, other than what the caller had said itself."""
    said = opened(b"\n".join(each if isinstance(each, bytes) else each.SerializeToString() for each in sent))
    seen = opened(outcome.seen())
    found = {value for value in own if value.encode() in seen and named(value).encode() not in said}
    assert not found, (found, outcome)


def named(principal: str) -> str:
    """Return a text without what says that it is a principal: whoever asks for "ada" is told of "user:ada"."""
    return principal.partition(":")[2] if principal.startswith(KINDS) else principal


def opened(text: bytes) -> bytes:
    """Return a text with what is in its base64 behind it: an answer's id holds an interaction's, a token a key."""
    found = re.findall(rb"[A-Za-z0-9_+/-]{8,}", text)
    # On the wire, what is before a text may look like the beginning of it.
    shifted = (each[shift : shift + (len(each) - shift) // 4 * 4] for each in found for shift in range(4))
    return b"\n".join((text, *(base64.b64decode(each.replace(b"-", b"+").replace(b"_", b"/")) for each in shifted)))


def assert_as_if_it_never_was(
    world: World, place: Place, method: MethodDescriptor, request: Message, outcome: Outcome
) -> None:
    """Check that ids of the victim's are answered as ids are that nobody ever had."""
    invented = {value: made_up(value) for value in world.own if not value.startswith(NO_OBJECTS)}
    tokens = world.victim.pool.values.get("page_token", {}).keys() | world.victim.pool.values.get("next_page_token", {})
    other = replaced(request, {value: new for value, new in invented.items() if value not in tokens})
    if other != request:
        again = place.call(method, other, world.stranger(place, path_of(method)))
        assert (again.code, again.reason) == (outcome.code, outcome.reason), (request, other)


@every
def test_what_another_has_is_not_found_as_fast_as_what_nobody_has(world: World, path: str):
    method = RPCS[path]
    for place in world.places(method):
        metadata = world.stranger(place, path)
        for request in filled(method.input_type, world.victim.pool, REQUESTS):
            invented = replaced(request, {value: made_up(value, 1) for value in world.own})
            if place.call(method, request, metadata).code is grpc.StatusCode.NOT_FOUND and invented != request:
                assert_as_fast(place, method, request, invented, metadata)
                break


def assert_as_fast(
    place: Place, method: MethodDescriptor, real: Message, invented: Message, metadata: Metadata
) -> None:
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(MEASURED):
        for request, taken in zip((real, invented), seconds, strict=True):
            started = time.perf_counter()
            assert place.call(method, request, metadata).code is grpc.StatusCode.NOT_FOUND
            taken.append(time.perf_counter() - started)
    slow, fast = sorted(map(statistics.median, seconds), reverse=True)
    assert slow <= fast * TIMES + PLUS_SECONDS, (place.name, seconds)
