"""tandem tune against a gateway that gives fixed answers: what goes up, what is shown, and the exit code."""

import json
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path

import grpc
import pytest
from tandem.ingest.v1 import ingest_service_pb2, ingest_service_pb2_grpc
from tandem.tune.v1 import tuning_service_pb2 as pb
from tandem.tune.v1 import tuning_service_pb2_grpc as rpc
from typer.testing import CliRunner

from services.cli.app import build_app
from services.cli.session import Program
from services.cli.verbs import tune

DIGEST = "ab" * 32
REPORT = pb.GateReport(
    passed=True,
    held_out_queries=50,
    live_ndcg=0.7,
    candidate_ndcg=0.75,
    difference_low=0.01,
    difference_high=0.09,
    rerank_weight=0.4,
)


class FixedDocuments(ingest_service_pb2_grpc.IngestServiceServicer):
    """Lists two documents."""

    def ListDocuments(self, request, context):
        documents = [
            ingest_service_pb2.Document(document_id=f"id-{name}", external_id=f"{name}.md")
            for name in ("prices", "duo")
        ]
        return ingest_service_pb2.ListDocumentsResponse(documents=documents)


class FixedRuns(rpc.TuningServiceServicer):
    """Gives one state of a run after the other, the last for ever, and keeps what it was asked."""

    def __init__(self) -> None:
        self.states = [pb.Run(state=pb.RUN_STATE_SUCCEEDED, reranker=DIGEST, report=REPORT)]
        self.started: list[pb.StartRerankerRunRequest] = []
        self.promoted: list[pb.PromoteRerankerRequest] = []
        self.digests = [DIGEST]

    def StartRerankerRun(self, request, context):
        self.started.append(request)
        return pb.StartRerankerRunResponse(run=pb.Run(run_id="run-1", state=pb.RUN_STATE_QUEUED))

    def GetRun(self, request, context):
        run = pb.Run(run_id=request.run_id)
        run.MergeFrom(self.states.pop(0) if len(self.states) > 1 else self.states[0])
        return pb.GetRunResponse(run=run)

    def ListRerankers(self, request, context):
        return pb.ListRerankersResponse(rerankers=[pb.Reranker(digest=each, report=REPORT) for each in self.digests])

    def PromoteReranker(self, request, context):
        self.promoted.append(request)
        return pb.PromoteRerankerResponse(promotion=pb.Promotion(reranker=request.digest))

    def RollbackReranker(self, request, context):
        return pb.RollbackRerankerResponse(promotion=pb.Promotion(previous=DIGEST, rollback=True))


class Fixed:
    def __init__(self, address: str) -> None:
        self.address, self.runs = address, FixedRuns()

    def __call__(self, *arguments: str):
        app = build_app(Program(("false",), lambda *_: pytest.fail("nothing is started"), {}))
        environment = {"TANDEM_ADDRESS": self.address, "TANDEM_API_KEY": "key", "TANDEM_HOME": "/nowhere"}
        return CliRunner(env=environment).invoke(app, ["tune", *arguments])


@pytest.fixture
def tandem(monkeypatch: pytest.MonkeyPatch) -> Iterator[Fixed]:
    monkeypatch.setattr(tune, "POLL_SECONDS", 0.01)
    server = grpc.server(futures.ThreadPoolExecutor(2))
    fixed = Fixed(f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}")
    ingest_service_pb2_grpc.add_IngestServiceServicer_to_server(FixedDocuments(), server)
    rpc.add_TuningServiceServicer_to_server(fixed.runs, server)
    server.start()
    yield fixed
    server.stop(None).wait()


def write_set(folder: Path, *rows: tuple[str, list[str]]) -> str:
    lines = [
        json.dumps({"id": str(number), "question": question, "documents": documents})
        for number, (question, documents) in enumerate(rows)
    ]
    (folder / "set.jsonl").write_text("\n".join(lines))
    return str(folder / "set.jsonl")


def test_a_set_goes_up_with_the_documents_as_the_platform_calls_them(tandem: Fixed, tmp_path: Path):
    path = write_set(tmp_path, ("What does it cost?", ["prices"]), ("What is E4?", ["duo.md", "prices.md"]))
    shown = tandem("reranker", "--set", path, "--seed", "5", "--base", "mini")
    assert shown.exit_code == 0, shown.output
    [request] = tandem.runs.started
    assert (request.seed, request.base, len(request.request_id)) == (5, "mini", 32)
    assert [(each.query, [one.document_id for one in each.positives]) for each in request.training_set.queries] == [
        ("What does it cost?", ["id-prices"]),
        ("What is E4?", ["id-duo", "id-prices"]),
    ]
    assert "nDCG@10 0.7000 live, 0.7500 with it" in shown.stdout
    assert "+0.0100 to +0.0900" in shown.stdout
    assert "it is in use now" in shown.stdout
    assert [each.digest for each in tandem.runs.promoted] == [DIGEST]


def test_ratings_need_no_set(tandem: Fixed):
    assert tandem("reranker", "--from-ratings").exit_code == 0
    assert tandem.runs.started[0].WhichOneof("data") == "ratings"


def test_neither_and_both_are_refused(tandem: Fixed, tmp_path: Path):
    path = write_set(tmp_path, ("What?", ["duo"]))
    for arguments in ((), ("--set", path, "--from-ratings")):
        refused = tandem("reranker", *arguments, "--json")
        assert (refused.exit_code, json.loads(refused.stdout)["error"]["reason"]) == (1, "NO_SET")
    assert not tandem.runs.started


def test_documents_that_are_not_known_stop_it_unless_that_is_allowed(tandem: Fixed, tmp_path: Path):
    path = write_set(tmp_path, ("What?", ["duo"]), ("Where?", ["nowhere"]))
    refused = tandem("reranker", "--set", path, "--json")
    assert json.loads(refused.stdout)["error"]["reason"] == "UNKNOWN_DOCUMENTS"
    assert tandem("reranker", "--set", path, "--allow-unknown").exit_code == 0
    assert [each.query for each in tandem.runs.started[0].training_set.queries] == ["What?"]


def test_what_did_not_pass_is_not_put_into_use_without_an_override(tandem: Fixed):
    tandem.runs.states[0].report.passed = False
    shown = tandem("reranker", "--from-ratings")
    assert shown.exit_code == 0
    assert "did not pass the gate" in shown.stdout
    assert "it is not in use" in shown.stdout
    assert not tandem.runs.promoted
    assert "it is in use now" in tandem("reranker", "--from-ratings", "--override").stdout
    assert tandem.runs.promoted[0].override


def test_what_passed_can_be_left_for_later(tandem: Fixed):
    shown = json.loads(tandem("reranker", "--from-ratings", "--no-promote", "--json").stdout)
    assert (shown["run"]["reranker"], shown["run"]["promoted"]) == (DIGEST, False)
    assert not tandem.runs.promoted


def test_a_run_that_fails_ends_the_command_so(tandem: Fixed):
    working = pb.Run(state=pb.RUN_STATE_RUNNING, stage="gathering")
    failed = pb.Run(state=pb.RUN_STATE_FAILED, failure="TOO_LITTLE_DATA", failure_message="too few questions")
    tandem.runs.states = [working, working, failed]
    shown = tandem("reranker", "--from-ratings")
    assert shown.exit_code == 1
    assert shown.stdout.count("gathering") == 1
    assert "too few questions" in shown.stdout
    assert "TOO_LITTLE_DATA" in shown.stderr


def test_a_reranker_is_named_by_the_beginning_of_its_digest(tandem: Fixed):
    assert tandem("promote", "abab").exit_code == 0
    assert [(each.digest, each.override) for each in tandem.runs.promoted] == [(DIGEST, False)]
    tandem.runs.digests = [DIGEST, "ab" + "cd" * 31]
    for beginning in ("ab", "ff"):
        assert tandem("promote", beginning).exit_code == 1


def test_what_is_taken_back_is_told(tandem: Fixed):
    assert "no reranker is in use now" in tandem("rollback").stdout
    assert DIGEST in tandem("rerankers").stdout
