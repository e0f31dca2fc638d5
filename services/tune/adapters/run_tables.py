"""The table of runs, and how its rows are read and written."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, DateTime, Double, Integer, Row, String, Table
from sqlalchemy.dialects.postgresql import JSONB

from services.common.access import Role
from services.common.errors import ServiceError
from services.common.identity import Identity
from services.tune.adapters import tables
from services.tune.adapters.tables import METADATA, report_of
from services.tune.domain.adapter_runs import AdapterOrder, AdapterTraining, Step
from services.tune.domain.data import Positive, Question
from services.tune.domain.hyperparameters import Method
from services.tune.domain.runs import Order, Origin, Run, RunState

# `work` is what a run that has not ended needs: its questions, and whom it acts for. `training` is what an adapter's
# run is ordered to do, as it is shown.
RUNS = Table(
    "runs",
    METADATA,
    Column("tenant_id", String, primary_key=True),
    Column("run_id", String, primary_key=True),
    Column("request_id", String),
    Column("state", String, nullable=False),
    Column("stage", String, nullable=False),
    Column("progress", Double, nullable=False),
    Column("subject", String, nullable=False),
    Column("base", String, nullable=False),
    Column("origin", String, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("work", JSONB(none_as_null=True)),
    Column("reranker", String, nullable=False),
    Column("failure", String, nullable=False),
    Column("failure_message", String, nullable=False),
    Column("report", JSONB(none_as_null=True)),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("started_at", DateTime(timezone=True)),
    Column("ended_at", DateTime(timezone=True)),
    Column("training", JSONB(none_as_null=True)),
    Column("adapter", String, nullable=False),
    Column("passed", Boolean, nullable=False),
    Column("step", Integer, nullable=False),
    Column("steps", Integer, nullable=False),
    Column("loss", Double, nullable=False),
    Column("eta_seconds", Double, nullable=False),
    Column("attempts", Integer, nullable=False),
)
_OF_TRAINING = frozenset({"training", "adapter", "passed", "step", "steps", "loss", "eta_seconds", "attempts"})
SHOWN = [column for column in RUNS.c if column.name not in {"request_id", "work"}]
_PLAIN = [column.name for column in SHOWN if column.name not in _OF_TRAINING]


def run_of(row: Row[Any]) -> Run:
    """Return a run from a row of SHOWN."""
    values = {name: getattr(row, name) for name in _PLAIN}
    known = {"state": RunState(row.state), "origin": Origin(row.origin), "report": report_of(row.report)}
    return Run(**values | known, training=_training_of(row) if row.training else None)


def _training_of(row: Row[Any]) -> AdapterTraining:
    ordered: dict[str, Any] = row.training
    return AdapterTraining(
        **{**ordered, "method": Method(ordered["method"])},
        adapter=row.adapter,
        passed=row.passed,
        at=Step(row.step, row.steps, row.loss, row.eta_seconds),
        attempts=row.attempts,
    )


def row_of(order: Order | AdapterOrder, run_id: str, now: datetime) -> dict[str, object]:
    """Return the row of a run that is queued."""
    own = _adapter_columns(order) if isinstance(order, AdapterOrder) else _reranker_columns(order)
    return {
        "tenant_id": order.identity.tenant_id,
        "run_id": run_id,
        "request_id": order.request_id or None,
        "state": RunState.QUEUED.value,
        "stage": "",
        "progress": 0.0,
        "subject": order.identity.subject,
        "base": order.base,
        "seed": order.seed,
        "reranker": "",
        "failure": "",
        "failure_message": "",
        "created_at": now,
        "adapter": "",
        "passed": False,
        "step": 0,
        "steps": 0,
        "loss": 0.0,
        "eta_seconds": 0.0,
        "attempts": 0,
        **own,
    }


def _reranker_columns(order: Order) -> dict[str, object]:
    questions = [[each.text, [[one.document_id, one.text] for one in each.positives]] for each in order.questions]
    rated_after = order.rated_after.isoformat() if order.rated_after else ""
    work = _actor(order.identity) | {"questions": questions, "rated_after": rated_after}
    return {"origin": order.origin.value, "work": work}


def _adapter_columns(order: AdapterOrder) -> dict[str, object]:
    training = {
        "method": order.method.value,
        "dataset": order.dataset,
        "parent": order.parent,
        "golden_set": order.golden_set,
        "alias": order.alias,
        "reward_dataset": order.reward_dataset,
        "hyperparameters": dict(order.overrides),
    }
    work = _actor(order.identity) | {"overrides": dict(order.overrides)}
    return {"origin": Origin.DATASET.value, "work": work, "training": training}


def _actor(who: Identity) -> dict[str, Any]:
    return {
        "principals": list(who.principals),
        "roles": sorted(role.value for role in who.roles),
        "actor": who.actor,
    }


def order_of(row: Row[Any]) -> Order | AdapterOrder:
    """Return what a run shall do, from a row with its `work`."""
    work: dict[str, Any] = row.work
    roles = frozenset(map(Role, work["roles"]))
    identity = Identity(row.tenant_id, row.subject, tuple(work["principals"]), roles, work["actor"])
    if row.training:
        ordered = {name: value for name, value in row.training.items() if name != "hyperparameters"}
        ordered |= {"method": Method(ordered["method"]), "base": row.base, "seed": row.seed}
        return AdapterOrder(identity, row.request_id or "", **ordered, overrides=work["overrides"])
    questions = tuple(
        Question(text, tuple(Positive(*each) for each in positives)) for text, positives in work["questions"]
    )
    after = datetime.fromisoformat(work["rated_after"]) if work["rated_after"] else None
    return Order(identity, row.request_id or "", row.base, Origin(row.origin), row.seed, questions, after)


def failure(error: ServiceError, now: datetime) -> dict[str, Any]:
    """Return what a run's row says once it has failed."""
    return tables.failure(error, now) | {"eta_seconds": 0.0}
