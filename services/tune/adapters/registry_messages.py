"""Adapters, aliases and canaries to and from protobuf."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

import orjson
from google.protobuf.timestamp_pb2 import Timestamp
from tandem.generate.v1 import events_pb2
from tandem.tune.v1 import registry_service_pb2 as pb

from services.tune.adapters.weights import ModuleDistance
from services.tune.domain.adapters import AdapterReport
from services.tune.domain.canaries import Arm, Canary, CanaryState, Decision, Look, Rule
from services.tune.domain.registry import Alias, KeptAdapter, Move, MoveAction, ReplicaReport

_STATES = {each: pb.CanaryState.Value(f"CANARY_STATE_{each.name}") for each in CanaryState}
_DECISIONS = {each: pb.CanaryDecision.Value(f"CANARY_DECISION_{each.name}") for each in Decision}
_ACTIONS = {each: pb.MoveAction.Value(f"MOVE_ACTION_{each.name}") for each in MoveAction}


def rule_of(message: pb.CanaryRule) -> Rule:
    """Return a rule; what is zero is the default."""
    told = {field.name: getattr(message, field.name) for field in message.DESCRIPTOR.fields}
    return Rule(**{name: value for name, value in told.items() if value})


def adapter_message(kept: KeptAdapter, deleted_documents: int, *, whole: bool = False) -> pb.Adapter:
    """Return an adapter as callers see it; `whole` with the document of its report."""
    adapter = kept.adapter
    message = pb.Adapter(
        digest=adapter.digest,
        base=adapter.base,
        rank=adapter.rank,
        method=adapter.method,
        dataset=adapter.dataset,
        run_id=adapter.run_id,
        parent=adapter.parent,
        seed=adapter.seed,
        owner=adapter.owner,
        created_at=_moment(adapter.created_at),
        stale=bool(deleted_documents or kept.erased_people),
        document_count=len(adapter.lineage.documents),
        deleted_documents=deleted_documents,
        person_count=len(adapter.lineage.people) + kept.erased_people,
        erased_people=kept.erased_people,
        aliases=kept.aliases,
    )
    if adapter.report:
        message.report.CopyFrom(report_message(adapter.report, whole=whole))
    return message


def report_message(report: AdapterReport, *, whole: bool) -> pb.AdapterReport:
    """Return a gate's report; `whole` with its document."""
    return pb.AdapterReport(
        passed=report.passed,
        rules=[pb.RuleResult(**asdict(rule)) for rule in report.rules],
        live=report.live,
        measures=[pb.Measure(name=name, value=value) for name, value in sorted(report.measures.items())],
        document=orjson.dumps(report.document) if whole else b"",
    )


def replica_message(report: ReplicaReport, now: datetime) -> pb.Replica:
    """Return what a replica said last."""
    return pb.Replica(
        replica_id=report.replica_id,
        alias=report.alias,
        digest=report.digest,
        readiness=events_pb2.AdapterReadiness.Value(f"ADAPTER_READINESS_{report.readiness.name}"),
        reason=report.reason,
        load_ms=report.load_ms,
        reported_at=_moment(report.reported_at),
        silent=report.is_silent(now),
    )


def alias_message(alias: Alias, canary: pb.Canary | None = None) -> pb.Alias:
    """Return an alias; `canary` is its canary with more than the alias knows of it."""
    message = pb.Alias(
        alias=alias.alias,
        digest=alias.live.digest,
        cleared=alias.live.cleared,
        revision=alias.revision,
        subject=alias.subject,
        changed_at=_moment(alias.changed_at),
    )
    if alias.canary:
        message.canary.CopyFrom(canary or canary_message(alias.canary))
    return message


def canary_message(canary: Canary, look: Look | None = None, decisions: Sequence[Look] = ()) -> pb.Canary:
    """Return a canary, with what is known of it and what the rule said."""
    return pb.Canary(
        canary_id=canary.canary_id,
        digest=canary.digest,
        against=canary.against,
        share=canary.share,
        cleared=canary.cleared,
        rule=pb.CanaryRule(**asdict(canary.rule)),
        state=_STATES[canary.state],
        subject=canary.subject,
        started_at=_moment(canary.started_at),
        ended_at=_moment(canary.ended_at) if canary.ended_at else None,
        look=_look(look) if look else None,
        decisions=map(_look, decisions),
    )


def move_message(move: Move) -> pb.Move:
    """Return a line of an alias's history."""
    return pb.Move(
        revision=move.revision,
        action=_ACTIONS[move.action],
        digest=move.live.digest,
        previous=move.previous.digest,
        cleared=move.live.cleared,
        canary_id=move.canary_id,
        canary_digest=move.canary_digest,
        subject=move.subject,
        overridden=move.overridden,
        reason=move.reason,
        undoes=move.undoes,
        moved_at=_moment(move.moved_at),
    )


def difference_message(
    left: pb.Adapter, right: pb.Adapter, configs: Sequence[Mapping[str, Any]], modules: Sequence[ModuleDistance]
) -> pb.DiffAdaptersResponse:
    """Return two adapters side by side; `configs` are both configurations, the left one's first."""
    ours, theirs = configs
    return pb.DiffAdaptersResponse(
        left=left,
        right=right,
        settings=[
            pb.SettingDifference(name=name, left=_json(ours, name), right=_json(theirs, name))
            for name in sorted(ours.keys() | theirs.keys())
            if ours.get(name) != theirs.get(name)
        ],
        rules=_rule_pairs(left.report, right.report),
        measures=_measure_pairs(left.report, right.report),
        modules=[pb.ModuleDistance(**asdict(each)) for each in modules],
    )


def _rule_pairs(left: pb.AdapterReport, right: pb.AdapterReport) -> list[pb.RulePair]:
    ours, theirs = ({rule.name: rule for rule in report.rules} for report in (left, right))
    return [
        pb.RulePair(name=name, left=ours.get(name), right=theirs.get(name))
        for name in sorted(ours.keys() | theirs.keys())
    ]


def _measure_pairs(left: pb.AdapterReport, right: pb.AdapterReport) -> list[pb.MeasurePair]:
    ours, theirs = ({each.name: each.value for each in report.measures} for report in (left, right))
    return [
        pb.MeasurePair(name=name, left=ours.get(name), right=theirs.get(name))
        for name in sorted(ours.keys() | theirs.keys())
    ]


def _json(config: Mapping[str, Any], name: str) -> str:
    return orjson.dumps(config[name]).decode() if name in config else ""


def _look(look: Look) -> pb.CanaryLook:
    return pb.CanaryLook(
        at=_moment(look.at),
        decision=_DECISIONS[look.decision],
        reason=look.reason,
        canary=_arm(look.arms.canary),
        old=_arm(look.arms.old),
        ratings=pb.RateDifference(**asdict(look.ratings)),
        errors=pb.RateDifference(**asdict(look.errors)),
        p_value=look.p_value,
    )


def _arm(arm: Arm) -> pb.ArmCounts:
    return pb.ArmCounts(**asdict(arm))


def _moment(at: datetime) -> Timestamp:
    message = Timestamp()
    message.FromDatetime(at)
    return message
