"""`tandem index …` against an IndexService that gives fixed answers."""

import json
from collections.abc import Iterator
from concurrent import futures

import grpc
import pytest
from tandem.common.v1 import index_pb2
from tandem.ingest.v1 import index_service_pb2 as pb
from tandem.ingest.v1 import index_service_pb2_grpc as rpc
from typer.testing import CliRunner

from services.cli.app import build_app
from services.cli.session import Program
from services.cli.verbs import index

LIVE = index_pb2.IndexConfig(model="minilm", languages=["en", "fr"], chunk_tokens=220, overlap_tokens=30)
OTHER = index_pb2.IndexConfig(
    model="e5\x1b[31m", languages=["fr"], strategies=[index_pb2.ChunkStrategy(kind="mail", strategy="fixed")]
)


class FixedIndexes(rpc.IndexServiceServicer):
    """Gives one state after the other, the last for ever, and keeps what it was asked."""

    def __init__(self) -> None:
        self.indexes: list[pb.TenantIndex] = []
        self.asked: list[object] = []

    def _next(self, request: object) -> pb.TenantIndex:
        self.asked.append(request)
        return self.indexes.pop(0) if len(self.indexes) > 1 else self.indexes[0]

    def GetIndex(self, request, context):
        return pb.GetIndexResponse(index=self._next(request))

    def BuildIndex(self, request, context):
        return pb.BuildIndexResponse(index=self._next(request))

    def SwitchIndex(self, request, context):
        return pb.SwitchIndexResponse(index=self._next(request))

    def RevertIndex(self, request, context):
        return pb.RevertIndexResponse(index=self._next(request))

    def DropIndex(self, request, context):
        return pb.DropIndexResponse(index=self._next(request))


class Command:
    """The command, and the service that it calls."""

    def __init__(self, address: str) -> None:
        self._address = address
        self.service = FixedIndexes()

    def __call__(self, *arguments: str):
        app = build_app(Program(("false",), lambda *_: pytest.fail("nothing is started"), {}))
        environment = {"TANDEM_ADDRESS": self._address, "TANDEM_API_KEY": "k" * 32, "TANDEM_HOME": "/nowhere"}
        return CliRunner(env=environment).invoke(app, ["index", *arguments])


@pytest.fixture
def tandem() -> Iterator[Command]:
    server = grpc.server(futures.ThreadPoolExecutor(2))
    command = Command(f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}")
    rpc.add_IndexServiceServicer_to_server(command.service, server)
    server.start()
    yield command
    server.stop(None).wait()


def at(state: int, **fields: object) -> pb.TenantIndex:
    return pb.TenantIndex(state=state, live=LIVE, live_key="minilm", **fields)


def test_the_live_index_is_shown_where_there_is_no_other(tandem):
    tandem.service.indexes = [at(pb.INDEX_STATE_SETTLED)]
    shown = tandem("show")
    assert shown.exit_code == 0
    assert shown.stdout.splitlines() == [
        "live: minilm, en fr, chunks of 220 tokens, 30 of them repeated",
        "no other index",
    ]


def test_a_build_is_asked_for_as_it_is_wanted_and_waited_for(tandem, monkeypatch):
    monkeypatch.setattr(index, "POLL_SECONDS", 0.0)
    failures = [pb.IndexFailure(reason="INVALID_VECTOR", documents=2)]
    tandem.service.indexes = [
        at(pb.INDEX_STATE_BUILDING, other=OTHER, documents=9),
        at(pb.INDEX_STATE_BUILDING, other=OTHER, documents=9, done=5),
        at(pb.INDEX_STATE_READY, other=OTHER, documents=9, done=9, failed=2, failures=failures),
    ]
    wanted = ("--model", "e5", "--language", "fr", "--language", "de", "--overlap-tokens", "0")
    shown = tandem("build", *wanted, "--strategy", "mail=fixed", "--wait")
    assert shown.exit_code == 0
    config = tandem.service.asked[0].config
    assert (config.model, list(config.languages), config.chunk_tokens) == ("e5", ["fr", "de"], 0)
    assert config.HasField("overlap_tokens")
    assert [(each.kind, each.strategy) for each in config.strategies] == [("mail", "fixed")]
    last = shown.stdout.splitlines()[-1]
    assert last.endswith("is ready: 9 of 9 documents are in it; 2 failed: INVALID_VECTOR 2")
    assert "\x1b" not in shown.stdout


def test_what_is_left_out_is_not_asked_for(tandem):
    tandem.service.indexes = [at(pb.INDEX_STATE_BUILDING, other=OTHER)]
    assert tandem("build", "--chunk-tokens", "100").exit_code == 0
    assert tandem.service.asked[0].config == index_pb2.IndexConfig(chunk_tokens=100)


@pytest.mark.parametrize("strategy", ["mail", "=fixed", "mail="])
def test_a_strategy_that_is_none_is_refused(tandem, strategy):
    refused = tandem("build", "--strategy", strategy, "--json")
    assert refused.exit_code == 1
    assert json.loads(refused.stdout)["error"]["reason"] == "INVALID_OPTION"
    assert tandem.service.asked == []


def test_switching_says_whether_failures_are_accepted_and_programs_get_json(tandem):
    tandem.service.indexes = [at(pb.INDEX_STATE_KEPT, other=OTHER)]
    assert "was live before, and is kept" in tandem("switch").stdout
    shown = tandem("switch", "--accept-failed", "--json")
    assert json.loads(shown.stdout)["index"]["state"] == "kept"
    assert [request.accept_failed for request in tandem.service.asked] == [False, True]
    assert tandem("revert").exit_code == 0


def test_a_drop_is_waited_for_where_that_is_wanted(tandem, monkeypatch):
    monkeypatch.setattr(index, "POLL_SECONDS", 0.0)
    tandem.service.indexes = [at(pb.INDEX_STATE_DROPPING, other=OTHER), at(pb.INDEX_STATE_SETTLED)]
    assert tandem("drop", "--wait").stdout.splitlines()[-1] == "no other index"
