"""The gateway as the command calls it: one channel, the caller's key, and a stub a service."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc
import jwt
from tandem.feedback.v1 import feedback_service_pb2_grpc
from tandem.gateway.v1 import (
    audit_service_pb2_grpc,
    directory_service_pb2_grpc,
    erasure_service_pb2_grpc,
    gateway_service_pb2_grpc,
)
from tandem.generate.v1 import generate_service_pb2_grpc
from tandem.ingest.v1 import (
    index_service_pb2_grpc,
    ingest_service_pb2_grpc,
    placement_service_pb2_grpc,
    secret_service_pb2_grpc,
)
from tandem.retrieve.v1 import tuning_service_pb2_grpc as search_tuning_pb2_grpc
from tandem.tune.v1 import (
    dataset_service_pb2_grpc,
    evaluation_service_pb2_grpc,
    gate_service_pb2_grpc,
    registry_service_pb2_grpc,
    tuning_service_pb2_grpc,
)

MAX_MESSAGE_BYTES = 40 * 1024 * 1024
CALL_SECONDS = 30.0
# How long an assertion is good: a call need only begin within it.
ASSERTION_SECONDS = 60
MAX_PAGE_SIZE = 500
MAX_INT32 = 2**31 - 1

Request = TypeVar("Request")
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Caller:
    """An API key, and the user whom it speaks for; "" is nobody."""

    api_key: str = ""
    on_behalf_of: str = ""


class Gateway:
    """Calls the gateway at `address` as a caller; in plaintext where there are no `credentials`."""

    def __init__(self, address: str, caller: Caller, credentials: grpc.ChannelCredentials | None = None) -> None:
        self.address = address
        self._caller = caller
        self._channel = channel = _channel_to(address, credentials)
        self.answers = gateway_service_pb2_grpc.GatewayServiceStub(channel)
        self.access = gateway_service_pb2_grpc.AccessServiceStub(channel)
        self.people = directory_service_pb2_grpc.DirectoryServiceStub(channel)
        self.assistants = gateway_service_pb2_grpc.AssistantServiceStub(channel)
        self.audit = audit_service_pb2_grpc.AuditServiceStub(channel)
        self.erasures = erasure_service_pb2_grpc.ErasureServiceStub(channel)
        self.sources = ingest_service_pb2_grpc.IngestServiceStub(channel)
        self.placement = placement_service_pb2_grpc.PlacementServiceStub(channel)
        self.index = index_service_pb2_grpc.IndexServiceStub(channel)
        self.secrets = secret_service_pb2_grpc.SecretServiceStub(channel)
        self.adapters = generate_service_pb2_grpc.AdapterServiceStub(channel)
        self.tuning = search_tuning_pb2_grpc.TuningServiceStub(channel)
        self.feedback = feedback_service_pb2_grpc.FeedbackServiceStub(channel)
        self.evaluations = evaluation_service_pb2_grpc.EvaluationServiceStub(channel)
        self.datasets = dataset_service_pb2_grpc.DatasetServiceStub(channel)
        self.gate = gate_service_pb2_grpc.GateServiceStub(channel)
        self.registry = registry_service_pb2_grpc.RegistryServiceStub(channel)
        self.rerankers = tuning_service_pb2_grpc.TuningServiceStub(channel)

    def close(self) -> None:
        self._channel.close()

    def call(
        self, rpc: "grpc.UnaryUnaryMultiCallable[Request, Answer]", request: Request, seconds: float = CALL_SECONDS
    ) -> Answer:
        """Make a call that must end within `seconds`."""
        return rpc(request, timeout=seconds, metadata=self._metadata())

    def stream(
        self, rpc: "grpc.UnaryStreamMultiCallable[Request, Answer]", request: Request, seconds: float
    ) -> Iterator[Answer]:
        """Yield what a call streams; leaving the loop early cancels the call."""
        call = rpc(request, timeout=seconds, metadata=self._metadata())
        try:
            yield from call
        finally:
            call.cancel()

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        """Return the credential, and the assertion of whom the call is for."""
        own = ("authorization", f"Bearer {self._caller.api_key}")
        if not self._caller.on_behalf_of:
            return (own,)
        now = int(time.time())
        claims = {"sub": self._caller.on_behalf_of, "iat": now, "exp": now + ASSERTION_SECONDS, "aud": "tandem"}
        return (own, ("tandem-on-behalf-of", jwt.encode(claims, self._caller.api_key, "HS256")))

    def pages(self, rpc: Any, request: Any) -> Iterator[Any]:
        """Yield the pages of a list, from the first on."""
        request.page_size = request.page_size or MAX_PAGE_SIZE
        while True:
            page = self.call(rpc, request)
            yield page
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token


def int32(number: int) -> int:
    """Return `number` as the wire can carry it; whether it makes sense is the server's to say."""
    return max(-MAX_INT32, min(number, MAX_INT32))


def _channel_to(address: str, credentials: grpc.ChannelCredentials | None) -> grpc.Channel:
    options = [("grpc.max_receive_message_length", MAX_MESSAGE_BYTES)]
    if credentials is None:
        return grpc.insecure_channel(address, options=options)
    return grpc.secure_channel(address, credentials, options=options)
