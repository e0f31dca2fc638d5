"""The tables of adapters, aliases, canaries and replicas, and how their rows are read and written."""

import math
import re
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import BigInteger, Boolean, Column, DateTime, Double, Integer, Row, Sequence, String, Table, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from services.common.outbox import outbox_table
from services.tune.adapters.tables import METADATA, SCHEMA
from services.tune.domain.adapters import AdapterReport, RegisteredAdapter, RuleResult
from services.tune.domain.canaries import Arm, Arms, Canary, CanaryState, Decision, Look, Rule
from services.tune.domain.registry import Alias, KeptAdapter, Move, MoveAction, Readiness, ReplicaReport, Target
from services.tune.domain.runs import Lineage
from services.tune.domain.sequential import Difference

# A zero byte in a text of JSON; an escaped backslash before "u0000" is none.
_ZERO = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")
MOMENT = DateTime(timezone=True)
NAME = String(collation="C")

ADAPTERS = Table(
    "adapters",
    METADATA,
    Column("tenant_id", String, primary_key=True),
    Column("digest", String, primary_key=True),
    Column("run_id", String, nullable=False),
    Column("base", String, nullable=False),
    Column("rank", Integer, nullable=False),
    Column("method", String, nullable=False),
    Column("dataset", String, nullable=False),
    Column("parent", String, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("documents", ARRAY(String), nullable=False),
    Column("people", ARRAY(String), nullable=False),
    Column("erased_people", Integer, nullable=False),
    Column("owner", String, nullable=False),
    Column("report", JSONB(none_as_null=True)),
    Column("created_at", MOMENT, nullable=False),
)
REVISIONS = Sequence("alias_revisions", schema=SCHEMA, metadata=METADATA)
ALIASES = Table(
    "aliases",
    METADATA,
    Column("tenant_id", String, primary_key=True),
    Column("alias", NAME, primary_key=True),
    Column("digest", String, nullable=False),
    Column("cleared", Boolean, nullable=False),
    Column("owner", String, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("subject", String, nullable=False),
    Column("canary_id", String, nullable=False),
    Column("deleted", Boolean, nullable=False),
    Column("changed_at", MOMENT, nullable=False),
)
MOVES = Table(
    "alias_moves",
    METADATA,
    Column("tenant_id", String, primary_key=True),
    Column("alias", NAME, primary_key=True),
    Column("revision", BigInteger, primary_key=True),
    Column("action", String, nullable=False),
    Column("digest", String, nullable=False),
    Column("cleared", Boolean, nullable=False),
    Column("owner", String, nullable=False),
    Column("previous_digest", String, nullable=False),
    Column("previous_cleared", Boolean, nullable=False),
    Column("previous_owner", String, nullable=False),
    Column("canary_id", String, nullable=False),
    Column("canary_digest", String, nullable=False),
    Column("subject", String, nullable=False),
    Column("overridden", Boolean, nullable=False),
    Column("reason", String, nullable=False),
    Column("undoes", BigInteger, nullable=False),
    Column("moved_at", MOMENT, nullable=False),
)
CANARIES = Table(
    "canaries",
    METADATA,
    Column("tenant_id", String, primary_key=True),
    Column("canary_id", String, primary_key=True),
    Column("alias", NAME, nullable=False),
    Column("digest", String, nullable=False),
    Column("against", String, nullable=False),
    Column("share", Double, nullable=False),
    Column("cleared", Boolean, nullable=False),
    Column("rule", JSONB, nullable=False),
    Column("state", String, nullable=False),
    Column("subject", String, nullable=False),
    # As it was at its end.
    Column("look", JSONB(none_as_null=True)),
    Column("started_at", MOMENT, nullable=False),
    Column("ended_at", MOMENT),
)
DECISIONS = Table(
    "canary_decisions",
    METADATA,
    Column("tenant_id", String, primary_key=True),
    Column("canary_id", String, primary_key=True),
    Column("at", MOMENT, primary_key=True),
    Column("look", JSONB, nullable=False),
)
ANSWERS = Table(
    "canary_answers",
    METADATA,
    Column("tenant_id", String, primary_key=True),
    Column("interaction_id", String, primary_key=True),
    Column("canary_id", String, nullable=False),
    Column("is_canary", Boolean, nullable=False),
    Column("conversation_id", String, nullable=False),
    Column("person", String, nullable=False),
    Column("failed", Boolean, nullable=False),
    Column("total_ms", Integer, nullable=False),
    Column("unsupported", Boolean, nullable=False),
)
RATINGS = Table(
    "canary_ratings",
    METADATA,
    Column("tenant_id", String, primary_key=True),
    Column("rating_id", String, primary_key=True),
    Column("interaction_id", String, nullable=False),
    Column("person", String, nullable=False),
    Column("up", Boolean, nullable=False),
    Column("first_at", MOMENT, nullable=False),
    Column("rated_at", MOMENT, nullable=False),
)
# Whose answers and ratings of before are not counted when they arrive late.
ERASED = Table(
    "erased_people",
    METADATA,
    Column("tenant_id", String, primary_key=True),
    Column("person", String, primary_key=True),
    Column("erased_at", MOMENT, nullable=False),
)
REPLICAS = Table(
    "adapter_replicas",
    METADATA,
    Column("tenant_id", String, primary_key=True),
    Column("digest", String, primary_key=True),
    Column("alias", NAME, primary_key=True),
    Column("replica_id", String, primary_key=True),
    Column("readiness", String, nullable=False),
    Column("reason", String, nullable=False),
    Column("load_ms", BigInteger, nullable=False),
    Column("reported_at", MOMENT, nullable=False),
)
OUTBOX = outbox_table(METADATA)
# Begins the names of a canary's columns where they stand beside its alias's.
TRIED = "tried_"
# Moves of one tenant go one after the other, and so do its adapters' removals.
TENANT_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended('tune.aliases/' || :tenant, 0))")


def adapter_row(adapter: RegisteredAdapter) -> dict[str, Any]:
    """Return the row of an adapter."""
    own = {column.name: getattr(adapter, column.name) for column in ADAPTERS.c if hasattr(adapter, column.name)}
    return own | {
        "documents": list(adapter.lineage.documents),
        "people": list(adapter.lineage.people),
        "erased_people": 0,
        "report": _kept_report(adapter.report) if adapter.report else None,
    }


def adapter_of(row: Row[Any], aliases: tuple[str, ...]) -> KeptAdapter:
    """Return an adapter from its row, with the aliases that use it."""
    own = {column.name: getattr(row, column.name) for column in ADAPTERS.c}
    documents, people, erased = (own.pop(name) for name in ("documents", "people", "erased_people"))
    report = own.pop("report")
    lineage = Lineage(tuple(documents), tuple(people))
    adapter = RegisteredAdapter(**own, lineage=lineage, report=_report_of(report) if report else None)
    return KeptAdapter(adapter, erased, aliases)


def _kept_report(report: AdapterReport) -> Any:
    """Return a report as PostgreSQL keeps it: what is no finite number is null, and there are no zero bytes."""
    return orjson.loads(_ZERO.sub(rb"\1", orjson.dumps(asdict(report))))


def _report_of(value: Mapping[str, Any]) -> AdapterReport:
    rules = tuple(RuleResult(**_numbered(rule)) for rule in value["rules"])
    return AdapterReport(**{**value, "rules": rules, "measures": _numbered(value["measures"])})


def _numbered(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: math.nan if value is None else value for name, value in values.items()}


def alias_of(row: Row[Any]) -> Alias:
    """Return an alias from a row that has its canary's columns, too."""
    canary = canary_of(row, TRIED) if getattr(row, f"{TRIED}canary_id") else None
    live = Target(row.digest, row.cleared, row.owner)
    return Alias(row.tenant_id, row.alias, live, row.revision, row.subject, row.changed_at, canary, row.deleted)


def alias_row(alias: Alias) -> dict[str, Any]:
    """Return the row of an alias."""
    return asdict(alias.live) | {
        "tenant_id": alias.tenant_id,
        "alias": alias.alias,
        "revision": alias.revision,
        "subject": alias.subject,
        "canary_id": alias.canary.canary_id if alias.canary else "",
        "deleted": alias.deleted,
        "changed_at": alias.changed_at,
    }


def move_of(row: Row[Any]) -> Move:
    """Return a move from its row."""
    return Move(
        row.revision,
        MoveAction(row.action),
        Target(row.digest, row.cleared, row.owner),
        Target(row.previous_digest, row.previous_cleared, row.previous_owner),
        row.canary_id,
        row.canary_digest,
        row.subject,
        row.overridden,
        row.reason,
        row.undoes,
        row.moved_at,
    )


def move_row(tenant_id: str, alias: str, move: Move) -> dict[str, Any]:
    """Return the row of a move."""
    own = {column.name: getattr(move, column.name) for column in MOVES.c if hasattr(move, column.name)}
    previous = {f"previous_{name}": value for name, value in asdict(move.previous).items()}
    return own | asdict(move.live) | previous | {"tenant_id": tenant_id, "alias": alias, "action": move.action.value}


def canary_of(row: Row[Any], prefix: str = "") -> Canary:
    """Return a canary from a row whose columns' names begin with `prefix`."""
    names = [column.name for column in CANARIES.c if column.name not in {"tenant_id", "look"}]
    own = {name: getattr(row, f"{prefix}{name}") for name in names}
    return Canary(**own | {"rule": Rule(**own["rule"]), "state": CanaryState(own["state"])})


def canary_row(tenant_id: str, canary: Canary) -> dict[str, Any]:
    """Return the row of a canary."""
    own = {column.name: getattr(canary, column.name) for column in CANARIES.c if hasattr(canary, column.name)}
    return own | {"tenant_id": tenant_id, "rule": asdict(canary.rule), "state": canary.state.value}


def look_row(look: Look) -> dict[str, Any]:
    """Return a look as it is kept."""
    return asdict(look) | {"at": look.at.isoformat(), "decision": look.decision.value}


def look_of(value: Mapping[str, Any]) -> Look:
    """Return a look as it was kept."""
    return Look(
        at=datetime.fromisoformat(value["at"]),
        decision=Decision(value["decision"]),
        reason=value["reason"],
        arms=Arms(Arm(**value["arms"]["canary"]), Arm(**value["arms"]["old"])),
        ratings=Difference(**value["ratings"]),
        errors=Difference(**value["errors"]),
        p_value=value["p_value"],
    )


def replica_of(row: Row[Any]) -> ReplicaReport:
    """Return what a replica said last, from its row."""
    own = {column.name: getattr(row, column.name) for column in REPLICAS.c}
    return ReplicaReport(**own | {"readiness": Readiness(row.readiness)})
