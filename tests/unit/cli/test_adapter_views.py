"""Adapters, aliases and canaries as people see them."""

import io

from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console
from tandem.generate.v1 import events_pb2
from tandem.tune.v1 import registry_service_pb2 as pb

from services.cli.views import adapters as views

DIGEST, OTHER = "sha256:" + "ab" * 32, "sha256:" + "cd" * 32
NOON = Timestamp(seconds=1_796_040_000)
RULE = pb.RuleResult(
    name="preferences", passed=False, required=True, value=-0.1, bound=0.0, low=-0.2, high=0.1, detail="40 pairs"
)
REPORT = pb.AdapterReport(passed=False, rules=[RULE], measures=[pb.Measure(name="f1", value=0.5)])
ADAPTER = pb.Adapter(
    digest=DIGEST,
    base="Tiny",
    rank=8,
    method="sft",
    run_id="run-1",
    owner="user:ada",
    created_at=NOON,
    document_count=3,
    deleted_documents=1,
    person_count=1,
    stale=True,
    aliases=["support"],
    report=REPORT,
)
LOOK = pb.CanaryLook(
    at=NOON,
    decision=pb.CANARY_DECISION_CONTINUE,
    reason="the ratings do not tell yet",
    canary=pb.ArmCounts(conversations=10, ups=7, downs=3),
    old=pb.ArmCounts(conversations=90, ups=50, downs=30),
    ratings=pb.RateDifference(value=0.075, low=-0.4, high=0.41),
    errors=pb.RateDifference(value=0, low=-0.1, high=0.3),
    p_value=1,
)
CANARY = pb.Canary(
    canary_id="c1",
    digest=OTHER,
    against=DIGEST,
    share=0.1,
    rule=pb.CanaryRule(alpha=0.05, max_error_rise=0.02, min_raters=3),
    state=pb.CANARY_STATE_RUNNING,
    started_at=NOON,
    look=LOOK,
    decisions=[LOOK],
)
ALIAS = pb.Alias(alias="support", digest=DIGEST, revision=7, subject="user:ada", changed_at=NOON, canary=CANARY)


def drawn(drawing):
    console = Console(file=io.StringIO(), width=200)
    console.print(drawing)
    return console.file.getvalue()


def test_an_adapter_is_shown_with_its_origin_its_gate_and_its_replicas():
    replica = pb.Replica(
        replica_id="r1",
        alias="support",
        digest=DIGEST,
        readiness=events_pb2.ADAPTER_READINESS_FAILED,
        reason="ADAPTER_ALTERED",
        reported_at=NOON,
        silent=True,
    )
    shown = drawn(views.adapter(pb.GetAdapterResponse(adapter=ADAPTER, replicas=[replica])))
    assert DIGEST in shown
    assert "sft in run run-1" in shown
    assert "3 documents and 1 person, 1 and 0 of them gone" in shown
    assert "-0.2000 to +0.1000" in shown
    for word in ("failed", "preferences", "ADAPTER_ALTERED", "silent since", "base model"):
        assert word in shown


def test_what_no_gate_has_seen_is_told_as_such():
    imported = pb.Adapter(digest=DIGEST, method="import")
    assert "not seen" in drawn(views.adapters_table([imported]))
    assert "gate: not seen" in drawn(views.adapter(pb.GetAdapterResponse(adapter=imported)))


def test_an_alias_is_shown_with_its_canarys_counts_intervals_and_decisions():
    shown = drawn(views.alias(pb.GetAliasResponse(alias=ALIAS)))
    for words in ("support, revision 7", "+7.5%, -40.0% to +41.0% at every look", "the ratings do not tell yet"):
        assert words in shown
    assert "cdcdcdcdcdcd on 10%" in drawn(views.aliases_table([ALIAS]))


def test_an_alias_under_which_nothing_was_tried_says_so():
    alias = pb.Alias(alias="support", revision=1, changed_at=NOON)
    shown = drawn(views.alias(pb.GetAliasResponse(alias=alias)))
    assert "points at: base model" in shown
    assert "nothing was tried under it" in shown


def test_two_adapters_stand_side_by_side():
    found = pb.DiffAdaptersResponse(
        left=ADAPTER,
        right=pb.Adapter(digest=OTHER, method="import"),
        settings=[pb.SettingDifference(name="r", left="8", right="16")],
        rules=[pb.RulePair(name="preferences", left=RULE)],
        measures=[pb.MeasurePair(name="f1", left=0.5)],
        modules=[pb.ModuleDistance(module=f"m{number}", distance=number / 20) for number in range(15)],
    )
    shown = drawn(views.difference(found))
    for words in ("-0.1000 (-0.2000 to +0.1000)", "0.5000", "m14", "and 3 modules nearer to each other"):
        assert words in shown


def test_a_move_says_where_from_who_and_why():
    move = pb.Move(
        revision=9,
        action=pb.MOVE_ACTION_ROLLED_BACK,
        digest="",
        previous=DIGEST,
        subject="user:ada",
        reason="complaints",
        moved_at=NOON,
    )
    shown = drawn(views.history_table([move]))
    for word in ("rolled_back", "base model", "abababababab", "complaints"):
        assert word in shown
