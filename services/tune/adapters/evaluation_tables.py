"""The tables of kept sets and their evaluations, and how their rows are read and written."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import Boolean, Column, DateTime, Double, Integer, LargeBinary, Row, String, Table
from sqlalchemy.dialects.postgresql import JSONB

from services.common.access import Role
from services.common.evaluation.bootstrap import Estimate
from services.common.identity import Identity
from services.tune.adapters.tables import METADATA
from services.tune.domain.evaluations import Evaluation, EvaluationState, KeptSet

MOMENT = DateTime(timezone=True)
# `schedule` is whom the schedule acts for.
SETS = Table(
    "question_sets",
    METADATA,
    Column("tenant_id", String, primary_key=True),
    Column("name", String, primary_key=True),
    Column("content", LargeBinary, nullable=False),
    Column("questions", Integer, nullable=False),
    Column("digest", String, nullable=False),
    Column("subject", String, nullable=False),
    Column("put_at", MOMENT, nullable=False),
    Column("every_hours", Integer, nullable=False),
    Column("next_at", MOMENT),
    Column("ends_at", MOMENT),
    Column("scheduled_by", String, nullable=False),
    Column("schedule", JSONB(none_as_null=True)),
)
# `work` is whom an evaluation that has not ended acts for; `leased_until` is when another may take it over.
EVALUATIONS = Table(
    "evaluations",
    METADATA,
    Column("tenant_id", String, primary_key=True),
    Column("evaluation_id", String, primary_key=True),
    Column("set_name", String, nullable=False),
    Column("set_digest", String, nullable=False),
    Column("state", String, nullable=False),
    Column("subject", String, nullable=False),
    Column("scheduled", Boolean, nullable=False),
    Column("questions", Integer, nullable=False),
    Column("searched", Integer, nullable=False),
    Column("work", JSONB(none_as_null=True)),
    Column("figures", JSONB(none_as_null=True)),
    Column("scores", JSONB(none_as_null=True)),
    Column("fall", Double, nullable=False),
    Column("failure", String, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("leased_until", MOMENT),
    Column("created_at", MOMENT, nullable=False),
    Column("started_at", MOMENT),
    Column("ended_at", MOMENT),
)
KEPT = [column for column in SETS.c if column.name not in {"tenant_id", "content", "schedule"}]
_HIDDEN = {"work", "scores", "attempts", "leased_until"}
SHOWN = [column for column in EVALUATIONS.c if column.name not in _HIDDEN]


def set_of(row: Row[Any]) -> KeptSet:
    """Return a set from a row of KEPT."""
    return KeptSet(**{column.name: getattr(row, column.name) for column in KEPT})


def evaluation_of(row: Row[Any]) -> Evaluation:
    """Return an evaluation from a row of SHOWN."""
    values = {column.name: getattr(row, column.name) for column in SHOWN}
    figures = {measure: Estimate(**figure) for measure, figure in (row.figures or {}).items()}
    return Evaluation(**values | {"state": EvaluationState(row.state), "figures": figures})


def queued_row(
    tenant_id: str, evaluation_id: str, kept: KeptSet, who: Mapping[str, Any], now: datetime
) -> dict[str, Any]:
    """Return the row of an evaluation that waits."""
    return {
        "tenant_id": tenant_id,
        "evaluation_id": evaluation_id,
        "set_name": kept.name,
        "set_digest": kept.digest,
        "state": EvaluationState.QUEUED.value,
        "subject": who["subject"],
        "scheduled": False,
        "questions": kept.questions,
        "searched": 0,
        "work": who,
        "fall": 0.0,
        "failure": "",
        "attempts": 0,
        "created_at": now,
    }


def figures_row(figures: Mapping[str, Estimate]) -> dict[str, Any]:
    """Return figures as they are kept."""
    return {measure: asdict(figure) for measure, figure in figures.items()}


def work_of(identity: Identity) -> dict[str, Any]:
    """Return whom an evaluation acts for, as it is kept: it reads later what this one may read now, and no more."""
    return {
        "subject": identity.subject,
        "principals": list(identity.principals),
        "roles": sorted(role.value for role in identity.roles),
        "actor": identity.actor,
    }


def identity_of(tenant_id: str, work: Mapping[str, Any]) -> Identity:
    """Return whom an evaluation acts for."""
    roles = frozenset(map(Role, work["roles"]))
    return Identity(tenant_id, work["subject"], tuple(work["principals"]), roles, work["actor"])
