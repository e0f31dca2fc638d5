"""tandem tune run and show against a gateway that gives fixed answers: what goes up, what is shown, the exit code."""

import json
from concurrent import futures

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from tandem.tune.v1 import tuning_service_pb2 as pb
from tandem.tune.v1 import tuning_service_pb2_grpc as rpc
from typer.testing import CliRunner

from services.cli.app import build_app
from services.cli.session import Program
from services.cli.verbs import training

DATASET, ADAPTER = "ab" * 32, f"sha256:{'cd' * 32}"
TOLD = pb.AdapterTraining(
    method=pb.TRAINING_METHOD_KTO,
    dataset=DATASET,
    hyperparameters=pb.Hyperparameters(rank=8, learning_rate=5e-5),
    step=30,
    steps=120,
    loss=0.4321,
    eta=Duration(seconds=4000),
)


class FixedRuns(rpc.TuningServiceServicer):
    """Gives one state of a run after the other, the last for ever, and keeps what it was asked."""

    def __init__(self) -> None:
        made = pb.AdapterTraining()
        made.CopyFrom(TOLD)
        made.adapter, made.passed = ADAPTER, True
        made.ClearField("eta")
        self.states = [
            pb.Run(state=pb.RUN_STATE_RUNNING, stage="training", training=TOLD),
            pb.Run(state=pb.RUN_STATE_SUCCEEDED, training=made),
        ]
        self.started: list[pb.StartAdapterRunRequest] = []

    def StartAdapterRun(self, request, context):
        self.started.append(request)
        return pb.StartAdapterRunResponse(run=pb.Run(run_id="run-1", state=pb.RUN_STATE_QUEUED))

    def GetRun(self, request, context):
        run = pb.Run(run_id=request.run_id)
        run.MergeFrom(self.states.pop(0) if len(self.states) > 1 else self.states[0])
        return pb.GetRunResponse(run=run)

    def ListRuns(self, request, context):
        return pb.ListRunsResponse(runs=[pb.Run(run_id="r1", training=TOLD), pb.Run(run_id="r2", origin="ratings")])


@pytest.fixture
def runs():
    return FixedRuns()


@pytest.fixture
def tandem_tune(runs, monkeypatch):
    monkeypatch.setattr(training, "POLL_SECONDS", 0.0)
    server = grpc.server(futures.ThreadPoolExecutor(2))
    rpc.add_TuningServiceServicer_to_server(runs, server)
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()

    def call(*arguments):
        app = build_app(Program(("false",), lambda *_: pytest.fail("nothing is started"), {}))
        environment = {"TANDEM_ADDRESS": address, "TANDEM_API_KEY": "key", "TANDEM_HOME": "/nowhere"}
        return CliRunner(env=environment).invoke(app, ["tune", *arguments])

    yield call
    server.stop(None)


RUN = ("run", "--method", "kto", "--dataset", DATASET)


def test_a_run_is_ordered_as_the_command_line_says_and_followed_to_its_end(tandem_tune, runs):
    more = ("--parent", ADAPTER, "--golden", "faq", "--alias", "support", "--seed", "3", "--base", "small")
    done = tandem_tune(*RUN, *more, "--set", "epochs=2", "--set", "beta=0", "--set", "learning_rate=1e-5")
    assert done.exit_code == 0, done.output
    [request] = runs.started
    assert (request.method, request.dataset, request.parent) == (pb.TRAINING_METHOD_KTO, DATASET, ADAPTER)
    assert (request.golden_set, request.alias, request.seed, request.base) == ("faq", "support", 3, "small")
    asked = {field.name: value for field, value in request.hyperparameters.ListFields()}
    # A zero that is asked for is no default.
    assert asked == {"epochs": 2, "beta": 0.0, "learning_rate": 1e-5}
    assert f"adapter {ADAPTER}" in done.output
    assert "passed the gate" in done.output


def test_a_run_need_not_be_waited_for_and_is_shown_later(tandem_tune):
    started = tandem_tune(*RUN, "--no-wait")
    assert started.exit_code == 0
    assert "state queued" in started.output
    shown = tandem_tune("show", "run-1")
    assert "step 30 of 120, loss 0.4321, 1 h 6 min left" in shown.output
    assert "rank 8, learning_rate 5e-05" in shown.output


def test_a_run_that_makes_nothing_ends_with_a_failure_that_says_why(tandem_tune, runs):
    failed = pb.Run(state=pb.RUN_STATE_FAILED, failure="INSUFFICIENT_MEMORY", failure_message="70 GiB are needed")
    failed.training.CopyFrom(TOLD)
    runs.states = [failed]
    done = tandem_tune(*RUN)
    assert done.exit_code != 0
    assert "70 GiB are needed" in done.output
    assert "INSUFFICIENT_MEMORY" in done.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run", "--method", "ppo", "--dataset", DATASET), "sft, dpo, kto, grpo"),
        ((*RUN, "--set", "rnak=8"), "no hyper-parameter is called rnak"),
        ((*RUN, "--set", "epochs=1.5"), "epochs is no number that it can have"),
        ((*RUN, "--set", "epochs"), "epochs is no number that it can have"),
    ],
)
def test_what_cannot_be_asked_for_is_refused_before_anything_is_started(tandem_tune, runs, arguments, said):
    refused = tandem_tune(*arguments)
    assert refused.exit_code != 0
    assert said in " ".join(refused.output.split())
    assert not runs.started


def test_both_kinds_of_runs_are_listed(tandem_tune):
    listed = tandem_tune("runs")
    assert "kto" in listed.output
    assert "reranker" in listed.output


def test_programs_get_everything_as_json():
    shown = training.plain(pb.Run(run_id="r", training=TOLD))
    assert json.loads(json.dumps(shown))["training"]["hyperparameters"] == {"rank": 8, "learning_rate": 5e-5}
    assert shown["training"]["eta"] == "4000s"
