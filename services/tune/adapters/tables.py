"""The tables of runs, rerankers and promotions, and how their rows are read and written."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, DateTime, Double, Integer, Row, Select, String, Table, tuple_
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from services.common.access import Role
from services.common.database import is_away, schema_metadata
from services.common.errors import ServiceError
from services.common.identity import Identity
from services.tune.domain.data import Positive, Question
from services.tune.domain.errors import StoreUnavailable
from services.tune.domain.runs import (
    MAX_MESSAGE_CHARS,
    GateReport,
    Lineage,
    Order,
    Origin,
    Position,
    Promotion,
    Reranker,
    Run,
    RunState,
)

SCHEMA = "tune"
METADATA = schema_metadata(SCHEMA)
# `work` is what a run that has not ended needs: its questions, and whom it acts for.
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
)
RERANKERS = Table(
    "rerankers",
    METADATA,
    Column("tenant_id", String, primary_key=True),
    Column("digest", String, primary_key=True),
    Column("run_id", String, nullable=False),
    Column("base", String, nullable=False),
    Column("report", JSONB, nullable=False),
    Column("documents", ARRAY(String), nullable=False),
    Column("people", ARRAY(String), nullable=False),
    Column("erased_people", Integer, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
)
PROMOTIONS = Table(
    "promotions",
    METADATA,
    Column("tenant_id", String, primary_key=True),
    Column("promotion_id", String, primary_key=True),
    Column("reranker", String, nullable=False),
    Column("previous", String, nullable=False),
    Column("rerank_weight", Double, nullable=False),
    Column("previous_weight", Double, nullable=False),
    Column("tuning_version", BigInteger, nullable=False),
    Column("subject", String, nullable=False),
    Column("overridden", Boolean, nullable=False),
    Column("undoes", String, nullable=False),
    Column("promoted_at", DateTime(timezone=True), nullable=False),
)
SHOWN = [column for column in RUNS.c if column.name not in {"request_id", "work"}]


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Raise StoreUnavailable for a database that is not there."""
    try:
        yield
    except Exception as error:
        if is_away(error):
            raise StoreUnavailable("the database cannot be reached") from error
        raise


def newest_first(query: Select[Any], key: tuple[Any, Any], after: Position | None) -> Select[Any]:
    """Return the query of what comes after a position in a list, newest first."""
    if after:
        query = query.where(tuple_(*key) < tuple_(after.at, after.object_id))
    return query.order_by(*(column.desc() for column in key))


def run_of(row: Row[Any]) -> Run:
    """Return a run from a row of SHOWN."""
    values = {column.name: getattr(row, column.name) for column in SHOWN}
    known = {"state": RunState(row.state), "origin": Origin(row.origin), "report": report_of(row.report)}
    return Run(**values | known)


def row_of(order: Order, run_id: str, now: datetime) -> dict[str, object]:
    """Return the row of a run that is queued."""
    return {
        "tenant_id": order.identity.tenant_id,
        "run_id": run_id,
        "request_id": order.request_id or None,
        "state": RunState.QUEUED.value,
        "stage": "",
        "progress": 0.0,
        "subject": order.identity.subject,
        "base": order.base,
        "origin": order.origin.value,
        "seed": order.seed,
        "work": _work_of(order),
        "reranker": "",
        "failure": "",
        "failure_message": "",
        "created_at": now,
    }


def order_of(row: Row[Any]) -> Order:
    """Return what a run shall do, from a row with its `work`."""
    work: Mapping[str, Any] = row.work
    roles = frozenset(map(Role, work["roles"]))
    identity = Identity(row.tenant_id, row.subject, tuple(work["principals"]), roles, work["actor"])
    questions = tuple(
        Question(text, tuple(Positive(*each) for each in positives)) for text, positives in work["questions"]
    )
    after = datetime.fromisoformat(work["rated_after"]) if work["rated_after"] else None
    return Order(identity, row.request_id or "", row.base, Origin(row.origin), row.seed, questions, after)


def _work_of(order: Order) -> dict[str, Any]:
    who = order.identity
    return {
        "principals": list(who.principals),
        "roles": sorted(role.value for role in who.roles),
        "actor": who.actor,
        "questions": [[each.text, [[one.document_id, one.text] for one in each.positives]] for each in order.questions],
        "rated_after": order.rated_after.isoformat() if order.rated_after else "",
    }


def report_of(value: Mapping[str, Any] | None) -> GateReport | None:
    """Return a report as it is kept, if there is one."""
    return GateReport(**value) if value else None


def reranker_of(row: Row[Any]) -> Reranker:
    """Return a reranker from its row."""
    report = GateReport(**row.report)
    lineage = Lineage(tuple(row.documents), tuple(row.people))
    return Reranker(row.digest, row.run_id, row.base, report, lineage, row.created_at, row.erased_people)


def reranker_row(tenant_id: str, reranker: Reranker) -> dict[str, object]:
    """Return the row of a reranker."""
    return {
        "tenant_id": tenant_id,
        "digest": reranker.digest,
        "run_id": reranker.run_id,
        "base": reranker.base,
        "report": asdict(reranker.report),
        "documents": list(reranker.lineage.documents),
        "people": list(reranker.lineage.people),
        "erased_people": reranker.erased_people,
        "created_at": reranker.created_at,
    }


def promotion_of(row: Row[Any]) -> Promotion:
    """Return a promotion from its row."""
    return Promotion(
        **{column.name: getattr(row, column.name) for column in PROMOTIONS.c if column.name != "tenant_id"}
    )


def failure(error: ServiceError, now: datetime) -> dict[str, Any]:
    """Return what a run's row says once it has failed."""
    return {
        "state": RunState.FAILED.value,
        "stage": "",
        "progress": 0.0,
        "work": None,
        "failure": error.reason,
        "failure_message": str(error)[:MAX_MESSAGE_CHARS],
        "ended_at": now,
    }
