"""`tandem index compare` searches both indexes, and only where there are two."""

import json
from collections.abc import Iterator
from concurrent import futures

import grpc
import pytest
from tandem.gateway.v1 import gateway_service_pb2_grpc
from tandem.ingest.v1 import index_service_pb2 as pb
from tandem.ingest.v1 import index_service_pb2_grpc, ingest_service_pb2_grpc
from typer.testing import CliRunner

from services.cli.app import build_app
from services.cli.session import Program
from tests.unit.cli.evaluation.platform import KnownAnswers, KnownDocuments


class FixedIndex(index_service_pb2_grpc.IndexServiceServicer):
    """Is in a state."""

    def __init__(self) -> None:
        self.state = pb.INDEX_STATE_READY

    def GetIndex(self, request, context):
        return pb.GetIndexResponse(index=pb.TenantIndex(state=self.state))


class Platform:
    """A gateway whose searches are known, and the command that calls it."""

    def __init__(self, address: str) -> None:
        self._address = address
        self.answers, self.index = KnownAnswers(), FixedIndex()

    def __call__(self, *arguments: str):
        app = build_app(Program(("false",), lambda *_: pytest.fail("nothing is started"), {}))
        environment = {"TANDEM_ADDRESS": self._address, "TANDEM_API_KEY": "a key", "TANDEM_HOME": "/nowhere"}
        return CliRunner(env=environment).invoke(app, ["index", "compare", *arguments, "--json"])


@pytest.fixture
def platform() -> Iterator[Platform]:
    server = grpc.server(futures.ThreadPoolExecutor(4))
    known = Platform(f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}")
    gateway_service_pb2_grpc.add_GatewayServiceServicer_to_server(known.answers, server)
    ingest_service_pb2_grpc.add_IngestServiceServicer_to_server(KnownDocuments(), server)
    index_service_pb2_grpc.add_IndexServiceServicer_to_server(known.index, server)
    server.start()
    yield known
    server.stop(0)


@pytest.fixture
def questions(tmp_path):
    path = tmp_path / "set.csv"
    path.write_text("question,documents\nfirst?,a\n")
    return str(path)


@pytest.mark.parametrize("state", [pb.INDEX_STATE_READY, pb.INDEX_STATE_KEPT])
def test_both_indexes_are_searched_for_every_question(platform, questions, state):
    platform.index.state = state
    platform.answers.found = {"first?": ["a"]}
    done = platform("--set", questions)
    assert done.exit_code == 0, done.output
    assert len(json.loads(done.output)["configurations"]) == 2
    assert sorted(request.other_index for request in platform.answers.searches) == [False, True]


@pytest.mark.parametrize("state", [pb.INDEX_STATE_SETTLED, pb.INDEX_STATE_BUILDING, pb.INDEX_STATE_DROPPING])
def test_where_no_index_is_whole_beside_the_live_one_nothing_is_compared(platform, questions, state):
    platform.index.state = state
    refused = platform("--set", questions)
    assert refused.exit_code == 1
    assert json.loads(refused.output)["error"]["reason"] == "INDEX_NOT_READY"
    assert platform.answers.searches == []
