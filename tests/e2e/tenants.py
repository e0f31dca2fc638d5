"""A tenant of a running platform, as its admin, its application and the users behind that application see it."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import grpc
import jwt
from tandem.common.v1 import access_pb2
from tandem.feedback.v1 import feedback_service_pb2 as feedback_pb
from tandem.feedback.v1 import feedback_service_pb2_grpc as feedback_rpc
from tandem.gateway.v1 import audit_service_pb2_grpc as audit_rpc
from tandem.gateway.v1 import directory_service_pb2_grpc as directory_rpc
from tandem.gateway.v1 import erasure_service_pb2_grpc as erasure_rpc
from tandem.gateway.v1 import gateway_service_pb2 as pb
from tandem.gateway.v1 import gateway_service_pb2_grpc as rpc
from tandem.ingest.v1 import ingest_service_pb2 as ingest_pb
from tandem.ingest.v1 import ingest_service_pb2_grpc as ingest_rpc

from tests.tandem_command import Tandem

PATIENCE_SECONDS = 90.0
POLL_SECONDS = 0.05
AGAIN = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}

Metadata = Mapping[str, str]


@dataclass
class Tenant:
    """Calls the gateway, again while a part of the platform is away: every call of the tests may be repeated."""

    tandem: Tandem
    name: str

    def __post_init__(self) -> None:
        channel = grpc.insecure_channel(self.tandem.unit("gateway").address)
        self.gateway = rpc.GatewayServiceStub(channel)
        self.access = rpc.AccessServiceStub(channel)
        self.directory = directory_rpc.DirectoryServiceStub(channel)
        self.audit = audit_rpc.AuditServiceStub(channel)
        self.erasure = erasure_rpc.ErasureServiceStub(channel)
        self.ingest = ingest_rpc.IngestServiceStub(channel)
        self.feedback = feedback_rpc.FeedbackServiceStub(channel)
        self.admin = bearer(self.tandem.tenant(self.name))
        roles = (access_pb2.ROLE_READER, access_pb2.ROLE_RATER, access_pb2.ROLE_CONTRIBUTOR)
        key = pb.CreateApiKeyRequest(name="application", roles=roles, acts_for_users=True)
        self._secret = self.call(self.access.CreateApiKey, key).secret
        self.application = bearer(self._secret)

    def for_user(self, user: str) -> Metadata:
        """The metadata of a call of the application on behalf of a user."""
        now = int(time.time())
        claims = {"sub": user, "iat": now, "exp": now + 120, "aud": "tandem"}
        return {**self.application, "tandem-on-behalf-of": jwt.encode(claims, self._secret, "HS256")}

    def call(self, method: Callable[..., Any], request: Any, metadata: Metadata | None = None) -> Any:
        """Call as the admin, or with `metadata`."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return method(request, metadata=tuple((metadata or self.admin).items()), timeout=20)
            except grpc.RpcError as error:
                if error.code() not in AGAIN or time.monotonic() > deadline:
                    raise
                time.sleep(POLL_SECONDS)

    def add_source(self, name: str, *readers: str, metadata: Metadata | None = None) -> None:
        request = ingest_pb.CreateSourceRequest(
            request_id=name, name=name, kind="push", push=ingest_pb.PushConfig(), readers=readers
        )
        self.call(self.ingest.CreateSource, request, metadata)

    def push(self, source: str, text: str, *readers: str, metadata: Metadata | None = None, **fields: str) -> str:
        """Push a document, wait until it is searchable, and return its id."""
        document = ingest_pb.PushedDocument(content=text.encode(), readers=readers, **{"external_id": "one", **fields})
        request = ingest_pb.PushDocumentsRequest(source=source, documents=[document])
        [kept] = self.call(self.ingest.PushDocuments, request, metadata).documents
        self.until(lambda: self._state(source, kept.document_id) == ingest_pb.DOCUMENT_STATE_INDEXED)
        return str(kept.document_id)

    def document(self, source: str, document_id: str) -> ingest_pb.Document:
        listed = self.call(self.ingest.ListDocuments, ingest_pb.ListDocumentsRequest(source=source, page_size=500))
        return next(each for each in listed.documents if each.document_id == document_id)

    def _state(self, source: str, document_id: str) -> int:
        return int(self.document(source, document_id).state)

    def search(self, query: str, metadata: Metadata | None = None) -> list[Any]:
        return list(self.call(self.gateway.Search, pb.SearchRequest(query=query, top_k=100), metadata).passages)

    def turns(self, conversation: str, metadata: Metadata) -> list[Any]:
        """The turns of a conversation; none where it is not there (yet)."""

        def read(request: Any, **options: Any) -> list[Any]:
            try:
                return list(self.feedback.GetConversation(request, **options).interactions)
            except grpc.RpcError as error:
                if error.code() is not grpc.StatusCode.NOT_FOUND:
                    raise
                return []

        turns: list[Any] = self.call(read, feedback_pb.GetConversationRequest(conversation_id=conversation), metadata)
        return turns

    def ask(self, question: str, conversation: str, metadata: Metadata) -> str:
        """Ask, and return the answer's id."""

        def whole(request: pb.AskRequest, **options: Any) -> list[pb.AskResponse]:
            return list(self.gateway.Ask(request, **options))

        events = self.call(whole, pb.AskRequest(question=question, conversation_id=conversation), metadata)
        return str(events[-1].end.answer_id)

    def until(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            assert time.monotonic() < deadline, "it did not come about in time"
            time.sleep(POLL_SECONDS)


def bearer(credential: str) -> Metadata:
    return {"authorization": f"Bearer {credential}"}
