"""The tables of rerankers and promotions, and how their rows are read and written."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, DateTime, Double, Integer, Row, Select, String, Table, tuple_
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from services.common.database import is_away, schema_metadata
from services.common.errors import ServiceError
from services.tune.domain.errors import StoreUnavailable
from services.tune.domain.runs import MAX_MESSAGE_CHARS, GateReport, Lineage, Position, Promotion, Reranker, RunState

SCHEMA = "tune"
METADATA = schema_metadata(SCHEMA)
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
    """Return what the row of a run or a build says once it has failed."""
    return {
        "state": RunState.FAILED.value,
        "stage": "",
        "progress": 0.0,
        "work": None,
        "failure": error.reason,
        "failure_message": str(error)[:MAX_MESSAGE_CHARS],
        "ended_at": now,
    }
