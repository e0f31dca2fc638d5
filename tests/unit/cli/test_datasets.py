"""tandem dataset against a gateway that gives fixed answers: what goes up, what is shown, and the exit code."""

import json
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path

import grpc
import pytest
from tandem.gateway.v1 import directory_service_pb2 as people_pb
from tandem.gateway.v1 import directory_service_pb2_grpc as people_rpc
from tandem.tune.v1 import dataset_service_pb2 as pb
from tandem.tune.v1 import dataset_service_pb2_grpc as rpc
from typer.testing import CliRunner

from services.cli.app import build_app
from services.cli.session import Program
from services.cli.verbs import datasets
from tests.unit.tune.datasets.making import built, row

DIGEST = "ab" * 32
MADE = pb.Dataset(digest=DIGEST, kind=pb.DATASET_KIND_SFT, train_rows=48, test_rows=6, fit=True, origins=["ratings"])


class FixedPeople(people_rpc.DirectoryServiceServicer):
    def ListUsers(self, request, context):
        return people_pb.ListUsersResponse(users=[people_pb.User(user_id="ada", display_name="Ada Lovelace")])


class FixedDatasets(rpc.DatasetServiceServicer):
    """Gives one state of a build after the other, the last for ever, and keeps what it was asked."""

    def __init__(self) -> None:
        self.states = [pb.DatasetBuild(state=pb.DATASET_BUILD_STATE_SUCCEEDED, dataset=DIGEST)]
        self.asked: list[object] = []

    def StartDatasetBuild(self, request, context):
        self.asked.append(request)
        return pb.StartDatasetBuildResponse(build=pb.DatasetBuild(build_id="b", state=pb.DATASET_BUILD_STATE_QUEUED))

    def UploadDataset(self, request, context):
        self.asked.append(request)
        return pb.UploadDatasetResponse(build=pb.DatasetBuild(build_id="b", state=pb.DATASET_BUILD_STATE_QUEUED))

    def GetDatasetBuild(self, request, context):
        return pb.GetDatasetBuildResponse(build=self.states.pop(0) if len(self.states) > 1 else self.states[0])

    def GetDataset(self, request, context):
        return pb.GetDatasetResponse(dataset=MADE)

    def ListDatasets(self, request, context):
        return pb.ListDatasetsResponse(datasets=[MADE, pb.Dataset(digest="ac" * 32)])

    def GetDatasetReport(self, request, context):
        report = built(rows=[row(number) for number in range(60)]).report
        content = b"<html>" if request.html else json.dumps(report).encode()
        return pb.GetDatasetReportResponse(dataset=MADE, content=content, withheld=2)

    def ListDatasetRows(self, request, context):
        start = int(request.page_token or 0)
        rows = [
            json.dumps({"question": f"What is {number}?", "completion": "x", "label": number % 2 == 0})
            for number in range(start, start + 2)
        ]
        return pb.ListDatasetRowsResponse(rows=rows, withheld=1, next_page_token=str(start + 2) if start < 4 else "")

    def DeleteDataset(self, request, context):
        self.asked.append(request)
        return pb.DeleteDatasetResponse()


class Fixed:
    def __init__(self, address: str) -> None:
        self.address, self.datasets = address, FixedDatasets()

    def __call__(self, *arguments: str):
        app = build_app(Program(("false",), lambda *_: pytest.fail("nothing is started"), {}))
        environment = {"TANDEM_ADDRESS": self.address, "TANDEM_API_KEY": "key", "TANDEM_HOME": "/nowhere"}
        return CliRunner(env=environment).invoke(app, ["dataset", *arguments])


@pytest.fixture
def tandem(monkeypatch: pytest.MonkeyPatch) -> Iterator[Fixed]:
    monkeypatch.setattr(datasets, "POLL_SECONDS", 0.01)
    server = grpc.server(futures.ThreadPoolExecutor(2))
    fixed = Fixed(f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}")
    rpc.add_DatasetServiceServicer_to_server(fixed.datasets, server)
    people_rpc.add_DirectoryServiceServicer_to_server(FixedPeople(), server)
    server.start()
    yield fixed
    server.stop(None).wait()


def test_what_is_to_be_built_goes_up_and_what_was_built_is_shown(tandem: Fixed):
    shown = tandem(
        *("build", "--kind", "grpo", "--from-ratings", "--from-documents", "--source", "team", "--seed", "3"),
        *("--redact-name", "Bob", "--redact-directory", "--not-personal", "@example.com", "--language", "fr"),
    )
    assert shown.exit_code == 0, shown.output
    [request] = tandem.datasets.asked
    assert request.kind == pb.DATASET_KIND_GRPO
    assert request.HasField("ratings")
    assert list(request.documents.sources) == ["team"]
    assert list(request.parameters.names) == ["Bob", "Ada Lovelace"]
    assert (request.parameters.seed, list(request.parameters.languages)) == (3, ["fr"])
    assert "fit to learn from" in shown.stdout


def test_a_build_needs_something_to_build_from(tandem: Fixed):
    refused = tandem("build", "--json")
    assert (refused.exit_code, json.loads(refused.stdout)["error"]["reason"]) == (1, "NO_SOURCE")
    assert not tandem.datasets.asked


def test_nobody_needs_to_wait(tandem: Fixed):
    shown = tandem("build", "--from-ratings", "--no-wait", "--json")
    assert json.loads(shown.stdout)["build"]["state"] == "queued"


def test_a_build_that_made_nothing_says_why(tandem: Fixed):
    tandem.datasets.states = [
        pb.DatasetBuild(state=pb.DATASET_BUILD_STATE_RUNNING, stage="cleaning"),
        pb.DatasetBuild(
            state=pb.DATASET_BUILD_STATE_FAILED, failure="DATASET_EMPTY", failure_message="no row is left: 3 empty"
        ),
    ]
    failed = tandem("build", "--from-ratings", "--json")
    error = json.loads(failed.stdout)["error"]
    assert (failed.exit_code, error["reason"]) == (1, "DATASET_EMPTY")
    assert "3 empty" in error["message"]


def test_a_file_goes_up_under_its_name(tandem: Fixed, tmp_path: Path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"{}")
    assert tandem("upload", str(path), "--kind", "kto").exit_code == 0
    [request] = tandem.datasets.asked
    assert (request.file_name, request.content, request.kind) == ("rows.jsonl", b"{}", pb.DATASET_KIND_KTO)


def test_the_report_is_drawn_and_its_page_is_written(tandem: Fixed, tmp_path: Path):
    page = tmp_path / "page.html"
    shown = tandem("report", "ab", "--html", str(page))
    assert shown.exit_code == 0, shown.output
    assert page.read_bytes() == b"<html>"
    for said in ("fit to learn from", "duplicates", "2048 fit", "2 texts are withheld"):
        assert said in shown.stdout


def test_rows_are_read_page_by_page(tandem: Fixed):
    found = json.loads(tandem("rows", DIGEST, "--limit", "5", "--json").stdout)
    assert (len(found["rows"]), found["withheld"]) == (5, 3)
    assert "good: x" in tandem("rows", DIGEST).stdout


def test_a_data_set_is_named_by_the_beginning_of_its_digest(tandem: Fixed):
    assert tandem("delete", "ab").exit_code == 0
    assert [each.digest for each in tandem.datasets.asked] == [DIGEST]
    refused = tandem("show", "a", "--json")
    assert json.loads(refused.stdout)["error"]["reason"] == "DATASET_NOT_FOUND"
    assert "abababababab" in tandem("list").stdout
