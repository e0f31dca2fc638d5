"""tandem tune rules against a gateway that keeps versions: a file goes there and back as it is."""

import json
from concurrent import futures

import grpc
import pytest
from tandem.tune.v1 import gate_service_pb2 as pb
from tandem.tune.v1 import gate_service_pb2_grpc as rpc
from typer.testing import CliRunner

from services.cli.app import build_app
from services.cli.session import Program

OWN = '# ours\nproof = []\n[[rules]]\nmeasure = "safety"\nkind = "not_worse"\n'


class FixedRules(rpc.GateServiceServicer):
    """Keeps versions from 1 on; version 0 is what is shipped."""

    def __init__(self) -> None:
        self.versions = [pb.GateRules(content="# shipped")]
        self.expected: list[int] = []

    def GetGateRules(self, request, context):
        return pb.GetGateRulesResponse(rules=self.versions[request.version or -1])

    def PutGateRules(self, request, context):
        self.expected.append(request.expected_version)
        self.versions.append(pb.GateRules(version=len(self.versions), content=request.content, subject="user:root"))
        return pb.PutGateRulesResponse(rules=self.versions[-1])

    def ListGateRules(self, request, context):
        return pb.ListGateRulesResponse(rules=self.versions[:0:-1])


@pytest.fixture
def kept():
    return FixedRules()


@pytest.fixture
def tandem(kept):
    server = grpc.server(futures.ThreadPoolExecutor(2))
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    rpc.add_GateServiceServicer_to_server(kept, server)
    server.start()
    environment = {"TANDEM_ADDRESS": address, "TANDEM_API_KEY": "key", "TANDEM_HOME": "/nowhere"}
    app = build_app(Program(("false",), lambda *_: pytest.fail("nothing is started"), {}))
    yield lambda *arguments: CliRunner(env=environment).invoke(app, ["tune", "rules", *arguments])
    server.stop(None).wait()


def test_what_is_set_is_shown_as_it_was_written(tandem, kept, tmp_path):
    assert tandem("show").output.strip() == "# shipped"
    file = tmp_path / "rules.toml"
    file.write_text(OWN)
    said = tandem("set", str(file))
    assert (said.exit_code, said.output.strip()) == (0, "version 1 of the gate's rules holds")
    assert tandem("show").output == OWN
    assert json.loads(tandem("show", "--json").output)["rules"]["content"] == OWN
    assert kept.expected == [0]


def test_rules_are_set_over_what_was_seen_only(tandem, kept, tmp_path):
    file = tmp_path / "rules.toml"
    file.write_text(OWN)
    tandem("set", str(file))
    tandem("set", str(file), "--if-version", "0")
    assert kept.expected == [0, 0]


def test_a_file_that_is_none_says_so(tandem, kept, tmp_path):
    binary = tmp_path / "rules.toml"
    binary.write_bytes(b"\xff\xfe\xff")
    for path in (binary, tmp_path / "elsewhere"):
        shown = tandem("set", str(path), "--json")
        assert shown.exit_code != 0
        assert "UNREADABLE_RULES" in shown.output + shown.stderr
    assert not kept.expected


def test_versions_are_listed_newest_first(tandem, tmp_path):
    file = tmp_path / "rules.toml"
    for bound in (1, 2):
        file.write_text(f"{OWN}bound = {bound}\n")
        tandem("set", str(file))
    listed = json.loads(tandem("history", "--json", "-n", "1").output)["rules"]
    assert [each["version"] for each in listed] == [2]
