"""One trace from a pushed document to the index, and one from a question to the engine."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from tandem.gateway.v1 import gateway_service_pb2 as pb
from tandem.gateway.v1 import gateway_service_pb2_grpc as rpc
from tandem.ingest.v1 import ingest_service_pb2 as ingest_pb
from tandem.ingest.v1 import ingest_service_pb2_grpc as ingest_rpc

from tests.tandem_command import Tandem

pytestmark = pytest.mark.timeout(600)

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SECONDS = 30


@pytest.fixture
def channel(tandem: Tandem):
    with grpc.insecure_channel(tandem.unit("gateway").address) as channel:
        yield channel


def metadata(tandem: Tandem, trace: str) -> tuple[tuple[str, str], ...]:
    secret = json.loads((tandem.home.root / "credentials.json").read_text())["secret"]
    return (("authorization", f"Bearer {secret}"), ("traceparent", f"00-{trace}-00f067aa0ba902b7-01"))


def written(traces: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every span that is written, with its service."""
    for file in traces.glob("*.jsonl"):
        # The last line may be half written.
        for line in file.read_text().split("\n")[:-1]:
            yield file.stem, json.loads(line)


def spans(traces: Path, trace: str) -> dict[str, set[str]]:
    """The names of a trace's spans, by service. A batch has a trace of its own, and links to those of its records."""
    found: dict[str, set[str]] = {}
    for service, span in written(traces):
        contexts = [span["context"], *(link["context"] for link in span["links"])]
        if any(context["trace_id"] == f"0x{trace}" for context in contexts):
            found.setdefault(service, set()).add(span["name"])
    return found


def until_traced(traces: Path, trace: str, wanted: dict[str, str]) -> None:
    """Wait for a span of that name in each service: every process writes its own, some when it likes."""
    deadline = time.monotonic() + SECONDS
    while missing := {name: span for name, span in wanted.items() if span not in spans(traces, trace).get(name, ())}:
        assert time.monotonic() < deadline, missing
        time.sleep(0.2)


def test_a_pushed_document_is_one_trace_from_the_call_to_the_index(tandem: Tandem, channel, traces: Path):
    stub, sent = ingest_rpc.IngestServiceStub(channel), metadata(tandem, TRACE)
    stub.CreateSource(
        ingest_pb.CreateSourceRequest(name="traced", kind="push", push=ingest_pb.PushConfig(), readers=["everyone"]),
        metadata=sent,
    )
    document = ingest_pb.PushedDocument(external_id="one", content=b"# Traced\n\nA document with a trace.")
    stub.PushDocuments(ingest_pb.PushDocumentsRequest(source="traced", documents=[document]), metadata=sent)

    push = "tandem.ingest.v1.IngestService/PushDocuments"
    until_traced(traces, TRACE, {"gateway": push, "ingest": push, "embed": "documents.changed process"})
    until_traced(traces, TRACE, {"ingest": "ingest.settle"})


def test_a_question_is_one_trace_through_every_service_it_passes(tandem: Tandem, channel, traces: Path):
    trace = TRACE[::-1]
    request = pb.AskRequest(question="How long is the warranty of the Tern kettle?")
    events = list(rpc.GatewayServiceStub(channel).Ask(request, metadata=metadata(tandem, trace), timeout=120))

    assert events[-1].HasField("end")
    passed = {
        "gateway": "tandem.gateway.v1.GatewayService/Ask",
        "retrieve": "tandem.retrieve.v1.RetrieveService/Retrieve",
        "embed": "tandem.embed.v1.EmbedService/Embed",
        "generate": "tandem.generate.v1.GenerateService/Generate",
        "feedback": "interactions store",
    }
    until_traced(traces, trace, passed)
