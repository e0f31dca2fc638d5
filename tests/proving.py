"""A platform whose every RPC can be called, at the gateway and at each service behind it, as anybody."""

import json
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
import psutil
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from services.common.access import EVERY_ROLE, Roles
from services.common.identity import METADATA_KEY, Identity, IdentitySigner
from services.common.interceptors import DETAILS_KEY
from services.common.server import OPTIONS
from services.gateway.servicer.forwarder import forwarded_paths
from tests.messages import new, path_of
from tests.tandem_command import Tandem

GATEWAY = "gateway"
SECONDS = 10.0
Metadata = tuple[tuple[str, str | bytes], ...]

# Made in one process, by the command's own arguments: starting one for each tenant would take minutes.
_BOOTSTRAP = """
import runpy, sys
for tenant in sys.argv[1:]:
    sys.argv = ["bootstrap", "--tenant", tenant, "--name", "first key"]
    sys.modules.pop("services.gateway.bootstrap", None)
    runpy.run_module("services.gateway.bootstrap", run_name="__main__", alter_sys=True)
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """All that a caller can see of a call."""

    code: grpc.StatusCode
    message: str = ""
    trailers: tuple[tuple[str, str | bytes], ...] = ()
    bodies: tuple[bytes, ...] = ()

    @property
    def reason(self) -> str:
        status = status_pb2.Status.FromString(bytes(dict(self.trailers).get(DETAILS_KEY, b"")))
        info = error_details_pb2.ErrorInfo()
        return info.reason if any(each.Unpack(info) for each in status.details) else ""

    def seen(self) -> bytes:
        """Everything of it, one after the other."""
        trailers = [part if isinstance(part, bytes) else part.encode() for pair in self.trailers for part in pair]
        return b"\n".join((*self.bodies, self.message.encode(), *trailers))


@dataclass(frozen=True, slots=True)
class Account:
    """A tenant, and the secret of its admin's key."""

    tenant_id: str
    secret: str


@dataclass(slots=True)
class Place:
    """One server, and the services that it says it has."""

    name: str
    channel: grpc.Channel
    services: frozenset[str]

    def offers(self, method: MethodDescriptor) -> bool:
        """Whether a caller with every right is served here."""
        if self.name == GATEWAY:
            own = method.containing_service.full_name.startswith("tandem.gateway.")
            return own or path_of(method) in forwarded_paths()
        return method.containing_service.full_name in self.services

    def call(
        self, method: MethodDescriptor, request: Message | bytes, metadata: Metadata, seconds: float = SECONDS
    ) -> Outcome:
        body = request if isinstance(request, bytes) else request.SerializeToString()
        kind = self.channel.unary_stream if method.server_streaming else self.channel.unary_unary
        call = None
        bodies: list[bytes] = []
        try:
            if method.server_streaming:
                call = kind(path_of(method))(body, metadata=metadata, timeout=seconds)
                bodies.extend(call)
            else:
                answer, call = kind(path_of(method)).with_call(body, metadata=metadata, timeout=seconds)
                bodies.append(answer)
        except grpc.RpcError as error:
            return Outcome(error.code(), error.details() or "", _pairs(error.trailing_metadata()), tuple(bodies))
        return Outcome(grpc.StatusCode.OK, "", _pairs(call.trailing_metadata()), tuple(bodies))

    def ask(self, method: MethodDescriptor, request: Message, metadata: Metadata) -> Message:
        """Call what must succeed; of a stream, return the last message."""
        outcome = self.call(method, request, metadata)
        assert outcome.code is grpc.StatusCode.OK, (path_of(method), outcome)
        answer = new(method.output_type)
        if outcome.bodies:
            answer.ParseFromString(outcome.bodies[-1])
        return answer


def _pairs(metadata: Any) -> tuple[tuple[str, str | bytes], ...]:
    return tuple((key, value) for key, value in metadata or ())


@dataclass
class Proving:
    """The platform of a test."""

    tandem: Tandem
    places: dict[str, Place] = field(default_factory=dict)

    @property
    def gateway(self) -> Place:
        return self.places[GATEWAY]

    def signer(self, now: Any = time.time) -> IdentitySigner:
        return IdentitySigner(self.tandem.home.identity_key().encode(), now)

    def tenants(self, names: Sequence[str]) -> dict[str, Account]:
        """Make tenants by the platform's own command, by the names that they have in the test alone."""
        ids = [f"{name}-{secrets.token_hex(4)}" for name in names]
        state = self.tandem.unit(GATEWAY)
        environment = psutil.Process(state.process.pid).environ()
        command = (sys.executable, "-c", _BOOTSTRAP, *ids)
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=120)
        made = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        return {name: Account(id_, key["secret"]) for name, id_, key in zip(names, ids, made, strict=True)}

    def processes(self) -> dict[str, tuple[int, int]]:
        """Each unit's process id and how often it was started again."""
        return {unit.name: (unit.process.pid, unit.restarts) for unit in self.tandem.state().units if unit.process}

    def close(self) -> None:
        for place in self.places.values():
            place.channel.close()


def proving(tandem: Tandem) -> Iterator[Proving]:
    """Give a running platform with a channel to each of its gRPC servers."""
    platform = Proving(tandem)
    for unit in tandem.state().units:
        if unit.metrics_address:
            channel = grpc.insecure_channel(unit.address, options=OPTIONS)
            platform.places[unit.name] = Place(unit.name, channel, _offered(channel))
    try:
        yield platform
    finally:
        platform.close()


def _offered(channel: grpc.Channel) -> frozenset[str]:
    request = reflection_pb2.ServerReflectionRequest(list_services="*")
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    [answer] = stub.ServerReflectionInfo(iter([request]), timeout=SECONDS, wait_for_ready=True)
    return frozenset(each.name for each in answer.list_services_response.service)


def bearer(secret: str) -> Metadata:
    return (("authorization", f"Bearer {secret}"),)


def signed(signer: IdentitySigner, tenant: str, roles: Roles = EVERY_ROLE, principals: Sequence[str] = ()) -> Metadata:
    identity = Identity(tenant, "user:eve", ("everyone", "user:eve", *principals), roles)
    return ((METADATA_KEY, signer.sign(identity)),)
