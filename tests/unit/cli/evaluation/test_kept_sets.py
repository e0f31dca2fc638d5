"""Sets that are kept with the tenant, against a gateway that keeps one."""

import json
from pathlib import Path

import pytest
from tandem.tune.v1 import evaluation_service_pb2 as pb

from services.cli.evaluation import keeping


@pytest.fixture(autouse=True)
def _without_pauses(monkeypatch):
    monkeypatch.setattr(keeping, "POLL_SECONDS", 0.0)


@pytest.fixture
def questions(tmp_path) -> Path:
    path = tmp_path / "set.csv"
    path.write_text("id,question,documents,answerable\n1,first?,a,\n2,second?,b.md|c,\n3,third?,,no\n4,fourth?,,\n")
    return path


def evaluation(state: int, **more) -> pb.Evaluation:
    return pb.Evaluation(evaluation_id="e1", state=state, **more)


def test_a_set_is_kept_with_the_ids_of_its_documents(platform, questions):
    kept = platform.json("keep", "faq", "--set", str(questions))
    assert kept["set"]["name"] == "faq"
    lines = [json.loads(line) for line in platform.sets.put.content.splitlines()]
    assert [(line["question"], line["documents"]) for line in lines] == [
        ("first?", ["id-a"]),
        ("second?", ["id-b", "id-c"]),
        ("third?", []),
    ]
    assert lines[2]["answerable"] is False


def test_a_set_with_documents_that_are_not_known_is_not_kept(platform, tmp_path):
    path = tmp_path / "set.csv"
    path.write_text("question,documents\nfirst?,a|elsewhere\n")
    assert platform.error("keep", "faq", "--set", str(path))["reason"] == "UNKNOWN_DOCUMENTS"
    path.write_text("question,documents\nfirst?,\n")
    assert platform.error("keep", "faq", "--set", str(path))["reason"] == "NO_DOCUMENTS_IN_SET"
    assert platform.sets.put is None


def test_an_evaluation_is_waited_for_and_shown(platform):
    figure = pb.Figure(measure="nDCG@10", value=0.5, low=0.4, high=0.6)
    platform.sets.states = [
        evaluation(pb.EVALUATION_STATE_QUEUED),
        evaluation(pb.EVALUATION_STATE_RUNNING, searched=1, questions=2),
        evaluation(pb.EVALUATION_STATE_DONE, figures=[figure], fell=True, fall=-0.25),
    ]
    assert platform.json("run", "faq")["evaluation"]["state"] == "done"
    shown = platform("history", "faq").output
    assert "0.500 [0.400, 0.600]" in shown
    assert "-0.250" in shown


@pytest.mark.parametrize(
    ("ended", "failure"),
    [
        (evaluation(pb.EVALUATION_STATE_FAILED, failure="SERVICE_UNAVAILABLE"), "SERVICE_UNAVAILABLE"),
        (evaluation(pb.EVALUATION_STATE_CANCELLED), "CANCELLED"),
    ],
)
def test_an_evaluation_without_figures_is_a_failure_with_its_reason(platform, ended, failure):
    platform.sets.states = [evaluation(pb.EVALUATION_STATE_QUEUED), ended]
    error = platform.error("run", "faq")
    assert (error["reason"], error["facts"]["failure"]) == ("EVALUATION_NOT_DONE", failure)


def test_one_that_does_not_end_is_waited_for_no_longer_than_told(platform):
    platform.sets.states = [evaluation(pb.EVALUATION_STATE_RUNNING)]
    assert platform.error("run", "faq", "--timeout", "0")["reason"] == "EVALUATION_NOT_DONE"


def test_a_set_is_shown_scheduled_and_removed(platform, tmp_path):
    platform.sets.content = b'{"id": "1", "question": "first?", "documents": ["id-a"]}\n'
    out = tmp_path / "set.jsonl"
    shown = platform("show", "faq", "--out", str(out)).output
    assert "first?" in shown
    assert "1 question whose documents you may not read" in shown
    assert out.read_bytes() == platform.sets.content
    platform.json("schedule", "faq", "--every-hours", "6")
    assert platform.sets.scheduled == pb.SetScheduleRequest(name="faq", every_hours=6)
    assert [each["every_hours"] for each in platform.json("sets")["sets"]] == [24]
    platform.json("remove", "faq")
    assert platform.sets.removed == "faq"
