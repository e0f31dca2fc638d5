"""tandem tuning: what is given is changed, the rest stays; versions are shown and gone back to."""

import json
from concurrent import futures

import grpc
import pytest
from tandem.feedback.v1 import events_pb2, feedback_service_pb2, feedback_service_pb2_grpc
from tandem.retrieve.v1 import tuning_service_pb2 as pb
from tandem.retrieve.v1 import tuning_service_pb2_grpc as rpc
from typer.testing import CliRunner

from services.cli.app import build_app
from services.cli.session import Program


class KeptTunings(rpc.TuningServiceServicer):
    """Keeps what is put, and says what it was asked to learn from."""

    def __init__(self):
        weights = [pb.SourceWeight(source="Wiki", weight=2)]
        self.kept = [
            pb.Tuning(max_steps=3, rerank_depth=30),
            pb.Tuning(version=1, dense_share=0.5, source_weights=weights),
        ]
        self.judgements = []

    def GetTuning(self, request, context):
        return pb.GetTuningResponse(tuning=self.kept[request.version or -1])

    def ListTunings(self, request, context):
        return pb.ListTuningsResponse(tunings=self.kept[:0:-1])

    def PutTuning(self, request, context):
        assert request.expected_version == len(self.kept) - 1
        request.tuning.version = len(self.kept)
        self.kept.append(request.tuning)
        return pb.PutTuningResponse(tuning=request.tuning)

    def LearnDenseShare(self, request, context):
        self.judgements = list(request.judgements)
        return pb.LearnDenseShareResponse(dense_share=0.25, used=40, learnt_quality=0.8, quality=0.7)


class Rated(feedback_service_pb2_grpc.FeedbackServiceServicer):
    """Exports one rating of each kind, oldest first."""

    def ExportRatings(self, request, context):
        for question, thumb in (
            ("bad?", events_pb2.THUMB_DOWN),
            ("good?", events_pb2.THUMB_UP),
            ("", events_pb2.THUMB_UP),
        ):
            passages = [
                events_pb2.InteractionPassage(document_id="cited", cited=True),
                events_pb2.InteractionPassage(document_id="given"),
            ]
            yield feedback_service_pb2.ExportRatingsResponse(
                rating={"thumb": thumb},
                interaction=events_pb2.Interaction(question=question, passages=passages),
            )


@pytest.fixture
def tunings():
    return KeptTunings()


@pytest.fixture
def tandem(tunings):
    server = grpc.server(futures.ThreadPoolExecutor(2))
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    rpc.add_TuningServiceServicer_to_server(tunings, server)
    feedback_service_pb2_grpc.add_FeedbackServiceServicer_to_server(Rated(), server)
    server.start()

    def run(*arguments):
        app = build_app(Program(("false",), lambda *_: pytest.fail("nothing is started"), {}))
        environment = {"TANDEM_ADDRESS": address, "TANDEM_API_KEY": "k" * 32, "TANDEM_HOME": "/nowhere"}
        return CliRunner(env=environment).invoke(app, ["tuning", *arguments])

    yield run
    server.stop(None)


def test_the_live_tuning_is_shown(tandem):
    assert "Wiki=2" in tandem("show").stdout
    shown = json.loads(tandem("show", "--json").stdout)["tuning"]
    assert (shown["version"], shown["dense_share"]) == (1, 0.5)


def test_what_is_given_changes_and_the_rest_stays(tandem, tunings):
    assert tandem("set", "--half-life", "30", "--weight", "Drive=0.5", "--no-rerank").exit_code == 0
    live = tunings.kept[-1]
    assert (live.version, live.recency_half_life_days, live.dense_share, live.rerank_off) == (2, 30, 0.5, True)
    assert {one.source: one.weight for one in live.source_weights} == {"Wiki": 2, "Drive": 0.5}


def test_a_weight_of_1_and_a_share_under_0_are_taken_back(tandem, tunings):
    assert tandem("set", "--weight", "Wiki=1", "--dense-share", "-1").exit_code == 0
    assert not tunings.kept[-1].source_weights
    assert not tunings.kept[-1].HasField("dense_share")


@pytest.mark.parametrize("weight", ["Wiki", "=", "Wiki=much"])
def test_a_weight_that_is_none_is_refused(tandem, tunings, weight):
    refused = tandem("set", "--weight", weight, "--json")
    assert (refused.exit_code, json.loads(refused.stdout)["error"]["reason"]) == (1, "INVALID_WEIGHT")
    assert len(tunings.kept) == 2


def test_going_back_makes_the_earlier_version_live_as_a_new_one(tandem, tunings):
    tandem("set", "--half-life", "30")
    assert tandem("rollback", "1").exit_code == 0
    assert (tunings.kept[-1].version, tunings.kept[-1].recency_half_life_days) == (3, 0)
    assert [one["version"] for one in json.loads(tandem("history", "--json").stdout)["tunings"]] == [3, 2, 1]


def test_a_share_is_learnt_from_what_was_rated_good_and_put_only_when_told(tandem, tunings):
    assert "0.25 ranks better: 0.800 against 0.700 on 40 questions" in tandem("learn").stdout
    (judgement,) = tunings.judgements
    assert (judgement.query, list(judgement.document_ids)) == ("good?", ["cited"])
    assert len(tunings.kept) == 2
    assert tandem("learn", "--put").exit_code == 0
    assert tunings.kept[-1].dense_share == 0.25
