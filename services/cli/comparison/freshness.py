"""What becomes of each way when a fact changes: a probe on a scratch source, and the age of what was learnt."""

import secrets
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import grpc
from tandem.gateway.v1 import gateway_service_pb2 as pb
from tandem.generate.v1 import generate_service_pb2 as generate_pb
from tandem.ingest.v1 import ingest_service_pb2 as ingest_pb
from tandem.tune.v1 import registry_service_pb2 as registry_pb

from services.cli.comparison.ways import SEARCHING, Contestants, ways_of
from services.cli.evaluation.asking import Asking
from services.cli.evaluation.outcomes import Outcome
from services.cli.evaluation.running import patiently
from services.cli.gateway import Gateway
from services.common.evaluation.answers import contains
from services.common.evaluation.questions import Question

SOURCE_PREFIX = "compare-freshness-"
DOCUMENT = "fact"
PAUSE_SECONDS = 0.2
# Who was shown the new fact so often and never said it will not say it.
ANSWERS_AT_MOST = 3


@dataclass(frozen=True, slots=True)
class Followed:
    """What one way made of a fact that was told and then changed.

    Seconds are counted from the acknowledged change to when the question was asked: `shown_seconds` until the
    passages had the new fact, `told_seconds` until the answer did; None where that never came.
    """

    knew: bool
    told_seconds: float | None
    shown_seconds: float | None = None
    # The last answer told the old fact.
    is_stale: bool = False
    # Why the last question was not answered at all; "" where it was.
    error: str = ""


@dataclass(frozen=True, slots=True)
class Learnt:
    """What an adapter learnt from, and what has gone of it; None where nobody knows."""

    documents: int | None = None
    deleted_documents: int | None = None
    erased_people: int | None = None
    made_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Freshness:
    """How old what was learnt is, and what the probe found; `followed` is empty where there was none."""

    learnt: Learnt = Learnt()
    followed: Mapping[str, Followed] = field(default_factory=dict)
    # Why the probe could not measure anything; "" where it could, or where it was not asked for.
    why_not: str = ""


@dataclass(frozen=True, slots=True)
class Patience:
    """The most seconds until a question is asked for the last time, and those that its answer gets."""

    seconds: float
    answer_seconds: float


@dataclass(frozen=True, slots=True)
class Fact:
    """A fact that nobody can know, as it is first and as it is then."""

    name: str
    first: str
    second: str

    @property
    def question(self) -> Question:
        return Question("freshness", f"What is the service code of the {self.name} pump?")

    def document(self, code: str) -> bytes:
        return f"# The {self.name} pump\n\nThe service code of the {self.name} pump is {code}.\n".encode()


@dataclass(frozen=True, slots=True)
class Scratch:
    """A source for one fact, which only its maker reads."""

    gateway: Gateway
    source_id: str

    def push(self, content: bytes) -> None:
        """Write the fact's document, or write it anew; it is acknowledged, not yet searchable."""
        document = ingest_pb.PushedDocument(external_id=DOCUMENT, content=content, media_type="text/markdown")
        request = ingest_pb.PushDocumentsRequest(source=self.source_id, documents=[document])
        self.gateway.call(self.gateway.sources.PushDocuments, request)


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a way made of a value: seconds until its passages and its answer had it, None for never."""

    last: Outcome
    shown_seconds: float | None = None
    told_seconds: float | None = None


def fact_of(token: str) -> Fact:
    """Return a fact made of eight hex digits."""
    first = int(token[:4], 16) % 9000 + 1000
    return Fact(f"Orvel {token[4:]}", str(first), str(first % 9000 + 1000))


def learnt(gateway: Gateway, digest: str) -> Learnt:
    """Return what the registry knows of an adapter, or else the engine, where it was loaded by hand."""
    try:
        request = registry_pb.GetAdapterRequest(digest=digest)
        kept = gateway.call(gateway.registry.GetAdapter, request).adapter
    except grpc.RpcError as error:
        if error.code() is not grpc.StatusCode.NOT_FOUND:
            raise
        return _learnt_by_hand(gateway, digest)
    made_at = kept.created_at.ToDatetime(UTC)
    return Learnt(kept.document_count, kept.deleted_documents, kept.erased_people, made_at)


def _learnt_by_hand(gateway: Gateway, digest: str) -> Learnt:
    pages = gateway.pages(gateway.adapters.ListAdapters, generate_pb.ListAdaptersRequest())
    for adapter in (each for page in pages for each in page.adapters):
        if adapter.digest == digest:
            return Learnt(adapter.document_count, len(adapter.deleted_document_ids), len(adapter.erased_users))
    return Learnt()


def why_not(gateway: Gateway, assistant: str) -> str:
    """Return why an assistant cannot be probed: it reads only what it is told to; "" where it can."""
    found = gateway.call(gateway.assistants.GetAssistant, pb.GetAssistantRequest(name=assistant)).assistant
    if found.sources or found.filter.ByteSize():
        return "the assistant reads some documents alone, so that it would not see the probe's"
    return ""


def probed(gateway: Gateway, who: Contestants, terms: pb.AskRequest, patience: Patience) -> dict[str, Followed]:
    """Return how each way followed a fact that changed.

    A document is pushed into a source that only the caller reads, and that is removed afterwards. Ways that
    search are asked until they tell the fact; the others, which nothing can tell it, once at the end.

    Raises:
        grpc.RpcError: the source could not be made, or every question would fail.
    """
    fact = fact_of(secrets.token_hex(4))
    with scratch(gateway) as source:
        wanted = pb.AskRequest()
        wanted.CopyFrom(terms)
        wanted.filter.Clear()
        wanted.filter.sources.append(source.source_id)
        ways = ways_of(gateway, who, wanted, patience.answer_seconds)
        source.push(fact.document(fact.first))
        before = _seen(ways, fact.question, fact.first, patience.seconds)
        source.push(fact.document(fact.second))
        after = _seen(ways, fact.question, fact.second, patience.seconds)
    return {
        way: Followed(
            knew=before[way].told_seconds is not None,
            told_seconds=after[way].told_seconds,
            shown_seconds=after[way].shown_seconds,
            is_stale=_tells(after[way].last, fact.first),
            error=after[way].last.error,
        )
        for way in ways
    }


@contextmanager
def scratch(gateway: Gateway) -> Iterator[Scratch]:
    """Give a source that is removed at the end, whatever happens."""
    name = f"{SOURCE_PREFIX}{uuid.uuid4().hex[:12]}"
    request = ingest_pb.CreateSourceRequest(
        request_id=uuid.uuid4().hex, name=name, kind="push", push=ingest_pb.PushConfig()
    )
    source_id = gateway.call(gateway.sources.CreateSource, request).source.source_id
    try:
        yield Scratch(gateway, source_id)
    finally:
        gateway.call(gateway.sources.DeleteSource, ingest_pb.DeleteSourceRequest(source=source_id))


def _seen(ways: Mapping[str, Asking], question: Question, value: str, seconds: float) -> dict[str, _Seen]:
    """Ask in every way about a value that was just pushed."""
    started = time.monotonic()
    seen: dict[str, _Seen] = {}
    waiting = {name: 0 for name in ways if name in SEARCHING}
    while waiting:
        for name in list(waiting):
            seen[name] = _asked(ways[name], question, value, started, seen.get(name))
            waiting[name] += seen[name].shown_seconds is not None
            if seen[name].told_seconds is not None or waiting[name] >= ANSWERS_AT_MOST:
                del waiting[name]
        if time.monotonic() - started > seconds:
            break
        time.sleep(PAUSE_SECONDS if waiting else 0)
    for name in (each for each in ways if each not in SEARCHING):
        seen[name] = _asked(ways[name], question, value, started, None)
    return seen


def _asked(ask: Asking, question: Question, value: str, started: float, before: _Seen | None) -> _Seen:
    at = time.monotonic() - started
    outcome = patiently(ask, question)
    shown = before.shown_seconds if before else None
    if shown is None and any(value in passage.text for passage in outcome.found):
        shown = at
    return _Seen(outcome, shown, at if _tells(outcome, value) else None)


def _tells(outcome: Outcome, value: str) -> bool:
    return outcome.reply is not None and bool(contains(outcome.reply.words, value))
