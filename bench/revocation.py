"""From a revocation's call to the first search that no longer shows what was revoked."""

import time
import uuid
from collections.abc import Awaitable, Callable

import grpc
import jwt
from tandem.common.v1 import access_pb2
from tandem.gateway.v1 import directory_service_pb2 as directory_pb
from tandem.gateway.v1 import directory_service_pb2_grpc as directory_rpc
from tandem.gateway.v1 import gateway_service_pb2 as pb
from tandem.gateway.v1 import gateway_service_pb2_grpc as rpc
from tandem.ingest.v1 import ingest_service_pb2 as ingest_pb

from bench.platform import Platform
from bench.report import Row, quantile

ROUNDS = 25
GIVE_UP_SECONDS = 30.0
P99_AT_MOST = 1.0
SOURCE = "bench-revocation"
USER = "bench-reader"
GROUP = "bench-readers"

Metadata = tuple[tuple[str, str], ...]


async def measure(platform: Platform) -> list[Row]:
    """Return p50 and p99 of the seconds that each kind of revocation takes, and p99 of all."""
    async with grpc.aio.insecure_channel(platform.address) as channel:
        bench = _Bench(platform, channel)
        await bench.prepare()
        kinds: dict[str, Callable[[], Awaitable[float]]] = {
            "a document's readers": bench.readers_revoked,
            "a member of a group": bench.member_removed,
            "a document deleted": bench.document_deleted,
            "a key": bench.key_revoked,
        }
        seconds = {kind: [await once() for _ in range(ROUNDS)] for kind, once in kinds.items()}
    rows = [
        Row(f"revocation to effect, {kind}: p50", "s", quantile(taken, 0.5), note=f"p99 {quantile(taken, 0.99):.3f}")
        for kind, taken in seconds.items()
    ]
    p99 = quantile([one for taken in seconds.values() for one in taken], 0.99)
    return [*rows, Row("revocation to effect, all kinds: p99", "s", p99, figure=p99, at_most=P99_AT_MOST)]


class _Bench:
    """A user who may read one document through a group, and by name."""

    def __init__(self, platform: Platform, channel: grpc.aio.Channel) -> None:
        self._platform = platform
        self._admin = platform.metadata
        self._directory = directory_rpc.DirectoryServiceStub(channel)
        self._access = rpc.AccessServiceStub(channel)
        self._user: Metadata = ()

    async def prepare(self) -> None:
        key = pb.CreateApiKeyRequest(name="bench", roles=[access_pb2.ROLE_READER], acts_for_users=True)
        secret = (await self._access.CreateApiKey(key, metadata=self._admin)).secret
        now = int(time.time())
        claims = {"sub": USER, "iat": now, "exp": now + 300, "aud": "tandem"}
        assertion = jwt.encode(claims, secret, "HS256")
        self._user = (("authorization", f"Bearer {secret}"), ("tandem-on-behalf-of", assertion))
        source = ingest_pb.CreateSourceRequest(name=SOURCE, kind="push", push=ingest_pb.PushConfig())
        await self._platform.ingest.CreateSource(source, metadata=self._admin)

    async def readers_revoked(self) -> float:
        token = await self._readable(f"user:{USER}")
        change = ingest_pb.DocumentReaders(external_id=token, readers=["user:somebody-else"])
        request = ingest_pb.SetDocumentReadersRequest(source=SOURCE, documents=[change])
        return await self._until_gone(token, self._platform.ingest.SetDocumentReaders(request, metadata=self._admin))

    async def member_removed(self) -> float:
        await self._members(add=[f"user:{USER}"])
        token = await self._readable(f"group:{GROUP}")
        request = directory_pb.ChangeMembersRequest(group_id=GROUP, remove=[f"user:{USER}"])
        return await self._until_gone(token, self._directory.ChangeMembers(request, metadata=self._admin))

    async def document_deleted(self) -> float:
        token = await self._readable(f"user:{USER}")
        request = ingest_pb.DeleteDocumentsRequest(source=SOURCE, external_ids=[token])
        return await self._until_gone(token, self._platform.ingest.DeleteDocuments(request, metadata=self._admin))

    async def key_revoked(self) -> float:
        made = await self._access.CreateApiKey(pb.CreateApiKeyRequest(name="revoked"), metadata=self._admin)
        metadata = (("authorization", f"Bearer {made.secret}"),)
        await self._search("anything", metadata)
        started = time.perf_counter()
        request = pb.RevokeApiKeyRequest(key_id=made.api_key.key_id)
        await self._access.RevokeApiKey(request, metadata=self._admin)
        while time.perf_counter() - started < GIVE_UP_SECONDS:
            try:
                await self._search("anything", metadata)
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.UNAUTHENTICATED:
                    return time.perf_counter() - started
                raise
        raise TimeoutError(made.api_key.key_id)

    async def _members(self, add: list[str]) -> None:
        group = directory_pb.Group(group_id=GROUP, members=add)
        await self._directory.PutGroups(directory_pb.PutGroupsRequest(groups=[group]), metadata=self._admin)

    async def _readable(self, reader: str) -> str:
        """Push a document that the user may read as `reader`, and return its token once the user finds it."""
        token = uuid.uuid4().hex
        document = ingest_pb.PushedDocument(
            external_id=token, content=f"# Note\n\nThe code of this note is {token}.\n".encode(), readers=[reader]
        )
        request = ingest_pb.PushDocumentsRequest(source=SOURCE, documents=[document])
        await self._platform.ingest.PushDocuments(request, metadata=self._admin)
        deadline = time.perf_counter() + GIVE_UP_SECONDS
        while not await self._search(token, self._user):
            if time.perf_counter() > deadline:
                raise TimeoutError(token)
        return token

    async def _until_gone(self, token: str, revocation: Awaitable[object]) -> float:
        started = time.perf_counter()
        await revocation
        while await self._search(token, self._user):
            if time.perf_counter() - started > GIVE_UP_SECONDS:
                raise TimeoutError(token)
        return time.perf_counter() - started

    async def _search(self, token: str, metadata: Metadata) -> bool:
        request = pb.SearchRequest(query=f"code of the note {token}", top_k=3)
        answer = await self._platform.gateway.Search(request, metadata=metadata)
        return any(token in passage.text for passage in answer.passages)
