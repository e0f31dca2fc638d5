"""Adapters, aliases and canaries, drawn for people."""

from collections.abc import Iterable, Sequence
from typing import Any

import orjson
from rich.console import Group, RenderableType
from rich.text import Text
from tandem.tune.v1 import registry_service_pb2 as pb

from services.cli.output import plain, visible
from services.cli.views.tables import cell, counted, new_table, table, when

DIGITS = 12
SHOWN_MODULES = 12
SHOWN_DECISIONS = 8
BASE = "base model"


def short(digest: str) -> str:
    """Return as much of a digest as tells it from others."""
    return digest.removeprefix("sha256:")[:DIGITS]


def named(digest: str) -> str:
    """Return a short digest, or the base model's name."""
    return short(digest) or BASE


def document_of(report: pb.AdapterReport) -> Any:
    """Return a report's document; None in lists, which have none."""
    return orjson.loads(report.document) if report.document else None


def adapters_table(found: Iterable[pb.Adapter]) -> RenderableType:
    """Return the registered adapters, a line each."""
    rows = [
        plain(each) | {"digest": short(each.digest), "dataset": short(each.dataset), "gate": gate(each)}
        for each in found
    ]
    columns = ("digest", "method", "base", "rank", "dataset", "gate", "aliases", "stale", "owner", "created_at")
    return table(rows, columns)


def gate(adapter: pb.Adapter) -> str:
    """Return what the gate said."""
    if not adapter.HasField("report"):
        return "not seen"
    return "passed" if adapter.report.passed else "failed"


def adapter(found: pb.GetAdapterResponse) -> RenderableType:
    """Return everything of an adapter."""
    one = found.adapter
    learnt = f"{counted(one.document_count, 'document')} and {counted(one.person_count, 'person')}"
    gone = f", {one.deleted_documents} and {one.erased_people} of them gone" if one.stale else ""
    facts = [
        ("adapter", one.digest),
        ("base", f"{one.base}, rank {one.rank}"),
        ("made by", f"{one.method}{f' in run {one.run_id}' if one.run_id else ''}, seed {one.seed}, {one.owner}"),
        ("data set", one.dataset or "not known"),
        ("began from", named(one.parent)),
        ("learnt from", learnt + gone),
        ("aliases", ", ".join(one.aliases) or "none"),
        ("gate", f"{gate(one)}, against {named(one.report.live)}" if one.HasField("report") else gate(one)),
    ]
    parts: list[RenderableType] = [_facts(facts)]
    if one.HasField("report"):
        parts += [rules(one.report), measures(one.report)]
    return Group(*parts, Text("replicas", "bold"), replicas(found.replicas))


def rules(report: pb.AdapterReport) -> RenderableType:
    """Return the gate's rules with their intervals."""
    drawn = new_table("rule", "", "value", "95% interval", "bound", "required", "detail")
    for rule in report.rules:
        said = Text("passed", "green") if rule.passed else Text("failed", "bold red")
        interval = f"{rule.low:+.4f} to {rule.high:+.4f}"
        values = (f"{rule.value:+.4f}", interval, f"{rule.bound:+.4f}", rule.required, rule.detail)
        drawn.add_row(cell(rule.name), said, *map(cell, values))
    return drawn


def measures(report: pb.AdapterReport) -> RenderableType:
    """Return the gate's figures."""
    rows = [{"measure": each.name, "value": f"{each.value:.4f}"} for each in report.measures]
    return table(rows, ("measure", "value")) if rows else Text("no measures", "dim")


def replicas(found: Iterable[pb.Replica]) -> RenderableType:
    """Return what replicas said last."""
    rows = [
        plain(each) | {"replica": each.replica_id[:DIGITS], "digest": short(each.digest), "heard of": _heard(each)}
        for each in found
    ]
    return table(rows, ("replica", "alias", "digest", "readiness", "reason", "load_ms", "heard of"))


def aliases_table(found: Iterable[pb.Alias]) -> RenderableType:
    """Return the aliases, a line each."""
    rows = [plain(each) | {"points at": named(each.digest), "canary": _canary_of(each)} for each in found]
    return table(rows, ("alias", "points at", "cleared", "canary", "revision", "subject", "changed_at"))


def history_table(found: Iterable[pb.Move]) -> RenderableType:
    """Return the moves of an alias, a line each."""
    rows = [
        plain(each)
        | {"points at": named(each.digest), "before": named(each.previous), "canary": short(each.canary_digest)}
        for each in found
    ]
    columns = ("moved_at", "revision", "action", "points at", "before", "canary", "subject", "overridden", "reason")
    return table(rows, columns)


def alias(found: pb.GetAliasResponse) -> RenderableType:
    """Return an alias with what is tried under it, or was tried last, and the replicas."""
    one = found.alias
    facts = [
        ("alias", f"{one.alias}, revision {one.revision}"),
        ("points at", f"{one.digest or BASE}{', cleared' if one.cleared else ''}"),
        ("moved", f"{when(plain(one), 'changed_at')} by {one.subject}"),
    ]
    parts: list[RenderableType] = [_facts(facts)]
    if one.HasField("canary"):
        parts.append(canary(one.canary))
    elif found.HasField("last_canary"):
        parts.append(canary(found.last_canary))
    else:
        parts.append(Text("nothing was tried under it", "dim"))
    return Group(*parts, Text("replicas", "bold"), replicas(found.replicas))


def canary(one: pb.Canary) -> RenderableType:
    """Return a canary: its arms, the intervals, the rule, and what it said."""
    rule, told = one.rule, plain(one)
    ends = (
        f"alpha {rule.alpha:g}, margin {rule.margin:+.1%}, errors up to {rule.max_error_rise:+.1%}, at most"
        f" {rule.max_ratings_per_rater} ratings of a rater, {rule.min_raters} raters, {rule.max_conversations}"
        f" conversations, {rule.max_days} days"
    )
    facts = [
        ("canary", f"{one.digest}, {told['state'].replace('_', ' ')}"),
        ("against", f"{named(one.against)}, on {one.share:.0%} of conversations since {when(told, 'started_at')}"),
        ("rule", ends),
    ]
    look = one.look
    return Group(
        _facts(facts),
        _arms(look),
        _facts(
            [
                ("good ratings", f"{_interval(look.ratings)}, p {look.p_value:.4g}"),
                ("failed answers", _interval(look.errors)),
            ]
        ),
        Text("decisions", "bold"),
        _decisions(one.decisions[:SHOWN_DECISIONS]),
    )


def difference(found: pb.DiffAdaptersResponse) -> RenderableType:
    """Return two adapters side by side."""
    left, right = found.left, found.right
    drawn = new_table("", short(left.digest), short(right.digest))
    origin = [
        {
            "method": each.method,
            "base": each.base,
            "rank": each.rank,
            "data set": short(each.dataset),
            "began from": named(each.parent),
            "seed": each.seed,
            "documents": each.document_count,
            "people": each.person_count,
            "gate": gate(each),
        }
        for each in (left, right)
    ]
    for name in origin[0]:
        drawn.add_row(name, *(cell(side[name]) for side in origin))
    for each in found.settings:
        drawn.add_row(cell(each.name), cell(each.left), cell(each.right))
    for pair in found.rules:
        drawn.add_row(cell(pair.name), *(_rule(pair, side) for side in ("left", "right")))
    for figure in found.measures:
        drawn.add_row(cell(figure.name), *(_figure(figure, side) for side in ("left", "right")))
    return Group(drawn, _modules(found.modules))


def _modules(found: Sequence[pb.ModuleDistance]) -> RenderableType:
    farthest = sorted(found, key=lambda each: -each.distance)
    rows = [
        {"module": each.module, "distance": f"{each.distance:.3f}", "cosine": f"{each.cosine:+.3f}"}
        for each in farthest[:SHOWN_MODULES]
    ]
    left_out = len(found) - len(rows)
    more = [Text(f"and {counted(left_out, 'module')} nearer to each other", "dim")] if left_out else []
    return Group(table(rows, ("module", "distance", "cosine")), *more)


def _rule(pair: pb.RulePair, side: str) -> Text:
    if not pair.HasField(side):  # type: ignore[arg-type]
        return Text("")
    rule = getattr(pair, side)
    return Text(f"{rule.value:+.4f} ({rule.low:+.4f} to {rule.high:+.4f})", "" if rule.passed else "red")


def _figure(pair: pb.MeasurePair, side: str) -> Text:
    return Text(f"{getattr(pair, side):.4f}" if pair.HasField(side) else "")  # type: ignore[arg-type]


def _arms(look: pb.CanaryLook) -> RenderableType:
    names = [field.name for field in pb.ArmCounts.DESCRIPTOR.fields]
    drawn = new_table("arm", *(name.replace("_", " ") for name in names))
    for name, arm in (("canary", look.canary), ("old", look.old)):
        drawn.add_row(name, *(str(getattr(arm, each)) for each in names))
    return drawn


def _decisions(found: Iterable[pb.CanaryLook]) -> RenderableType:
    rows = [plain(each) | {"when": plain(each)["at"][:19].replace("T", " ")} for each in found]
    return table(rows, ("when", "decision", "reason"))


def _interval(found: pb.RateDifference) -> str:
    return f"{found.value:+.1%}, {found.low:+.1%} to {found.high:+.1%} at every look"


def _heard(replica: pb.Replica) -> str:
    at = when(plain(replica), "reported_at")
    return f"silent since {at}" if replica.silent else at


def _canary_of(alias: pb.Alias) -> str:
    return f"{short(alias.canary.digest)} on {alias.canary.share:.0%}" if alias.HasField("canary") else ""


def _facts(facts: Iterable[tuple[str, str]]) -> RenderableType:
    return Group(*(Text.assemble((f"{name}: ", "dim"), visible(value)) for name, value in facts))
