"""What it costs a search that its caller is authenticated, expanded through the directory, and checked twice.

The same searches go in turn through the platform's gateway on behalf of a user of so many principals,
and through a gateway and a retrieval of the same code that let everybody read everything (bench.unchecked).
"""

import time
from collections.abc import Sequence

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
from bench.unchecked import unchecked_gateway

PRINCIPALS = (10, 100, 1000)
DOCUMENTS = 300
SEARCHES = 150
WARM = 20
TOP_K = 8
SOURCE = "bench-checks"
GROUPS_A_DOCUMENT = 4
BAR_PRINCIPALS = 100
P50_AT_MOST_MS = 3.0

Metadata = tuple[tuple[str, str], ...]


async def measure(platform: Platform, texts: Sequence[str], questions: Sequence[str]) -> list[Row]:
    """Return p50 and p95 of a search with and without the checks, at 10, 100 and 1,000 principals."""
    async with grpc.aio.insecure_channel(platform.address) as channel:
        await _push(platform, texts[:DOCUMENTS])
        secret = await _application(platform, channel)
        rows: list[Row] = []
        async with unchecked_gateway(platform) as unchecked:
            for principals in PRINCIPALS:
                user = await _user(platform, channel, principals)
                rows += await _rows(platform, unchecked, (questions, _on_behalf(secret, user)), principals)
    return rows


async def _rows(
    platform: Platform, unchecked: rpc.GatewayServiceStub, asked: tuple[Sequence[str], Metadata], principals: int
) -> list[Row]:
    questions, metadata = asked
    ours: list[float] = []
    theirs: list[float] = []
    for number in range(WARM + SEARCHES):
        question = questions[number % len(questions)]
        checked = await _milliseconds(platform.gateway, question, metadata)
        bare = await _milliseconds(unchecked, question, ())
        if number >= WARM:
            ours.append(checked)
            theirs.append(bare)
    p50, bare50 = quantile(ours, 0.5), quantile(theirs, 0.5)
    p95, bare95 = quantile(ours, 0.95), quantile(theirs, 0.95)
    bar = P50_AT_MOST_MS if principals == BAR_PRINCIPALS else None
    name = f"a search's checks, {principals} principals"
    return [
        Row(f"{name}: p50", "ms", p50, bare50, p50 - bare50, at_most=bar, note="figure: the difference in ms"),
        Row(f"{name}: p95", "ms", p95, bare95, p95 - bare95, note="figure: the difference in ms"),
    ]


async def _milliseconds(stub: rpc.GatewayServiceStub, question: str, metadata: Metadata) -> float:
    started = time.perf_counter()
    answer = await stub.Search(pb.SearchRequest(query=question, top_k=TOP_K), metadata=metadata)
    taken = (time.perf_counter() - started) * 1000
    if not answer.passages:
        raise LookupError("the search found nothing: there is nothing to compare")
    return taken


async def _push(platform: Platform, texts: Sequence[str]) -> None:
    """Push documents, each for some of the groups that everybody in this benchmark is in."""
    source = ingest_pb.CreateSourceRequest(name=SOURCE, kind="push", push=ingest_pb.PushConfig())
    await platform.ingest.CreateSource(source, metadata=platform.metadata)
    documents = [
        ingest_pb.PushedDocument(
            external_id=str(number),
            content=text.encode(),
            readers=[f"group:bench-{(number + step) % 8}" for step in range(GROUPS_A_DOCUMENT)],
        )
        for number, text in enumerate(texts)
    ]
    request = ingest_pb.PushDocumentsRequest(source=SOURCE, documents=documents)
    await platform.ingest.PushDocuments(request, metadata=platform.metadata)
    await platform.until_indexed(SOURCE, len(documents))


async def _application(platform: Platform, channel: grpc.aio.Channel) -> str:
    key = pb.CreateApiKeyRequest(name="bench", roles=[access_pb2.ROLE_READER], acts_for_users=True)
    made = await rpc.AccessServiceStub(channel).CreateApiKey(key, metadata=platform.metadata)
    return str(made.secret)


async def _user(platform: Platform, channel: grpc.aio.Channel, principals: int) -> str:
    """Return a user who may read as so many: "everyone", itself, and groups."""
    user = f"bench-{principals}"
    directory = directory_rpc.DirectoryServiceStub(channel)
    count = principals - 2
    for first in range(0, count, 500):
        groups = [
            # The first eight are in every user's reach, and keep who is in them already.
            directory_pb.Group(group_id=f"bench-{number}", members=[f"user:bench-{each}" for each in PRINCIPALS])
            if number < 8
            else directory_pb.Group(group_id=f"bench-{principals}-{number}", members=[f"user:{user}"])
            for number in range(first, min(first + 500, count))
        ]
        await directory.PutGroups(directory_pb.PutGroupsRequest(groups=groups), metadata=platform.metadata)
    request = directory_pb.ExpandUserRequest(user_id=user)
    expanded = await directory.ExpandUser(request, metadata=platform.metadata)
    if len(expanded.principals) != principals:
        raise LookupError(f"{user} has {len(expanded.principals)} principals")
    return user


def _on_behalf(secret: str, user: str) -> Metadata:
    now = int(time.time())
    assertion = jwt.encode({"sub": user, "iat": now, "exp": now + 300, "aud": "tandem"}, secret, "HS256")
    return (("authorization", f"Bearer {secret}"), ("tandem-on-behalf-of", assertion))
