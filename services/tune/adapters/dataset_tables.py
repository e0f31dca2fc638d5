"""The tables of builds and data sets, and how their rows are read and written."""

from dataclasses import asdict, fields
from datetime import datetime
from typing import Any

from sqlalchemy import Boolean, Column, DateTime, Double, Integer, Row, String, Table
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from services.common.access import Role
from services.common.identity import Identity
from services.tune.adapters.tables import METADATA
from services.tune.datasets.parameters import BuildOrder, FromDocuments, parameters_of
from services.tune.datasets.rows import Kind
from services.tune.datasets.store import Card
from services.tune.domain.datasets import DatasetBuild, KeptDataset
from services.tune.domain.runs import RunState

MOMENT = DateTime(timezone=True)
# `work` is what a build that has not ended shall do, and as whom.
BUILDS = Table(
    "dataset_builds",
    METADATA,
    Column("tenant_id", String, primary_key=True),
    Column("build_id", String, primary_key=True),
    Column("request_id", String),
    Column("state", String, nullable=False),
    Column("stage", String, nullable=False),
    Column("progress", Double, nullable=False),
    Column("kind", String, nullable=False),
    Column("origins", ARRAY(String), nullable=False),
    Column("subject", String, nullable=False),
    Column("work", JSONB(none_as_null=True)),
    Column("dataset", String, nullable=False),
    Column("failure", String, nullable=False),
    Column("failure_message", String, nullable=False),
    Column("created_at", MOMENT, nullable=False),
    Column("started_at", MOMENT),
    Column("ended_at", MOMENT),
)
DATASETS = Table(
    "datasets",
    METADATA,
    Column("tenant_id", String, primary_key=True),
    Column("digest", String, primary_key=True),
    Column("kind", String, nullable=False),
    Column("train_rows", Integer, nullable=False),
    Column("validation_rows", Integer, nullable=False),
    Column("test_rows", Integer, nullable=False),
    Column("origins", ARRAY(String), nullable=False),
    Column("fit", Boolean, nullable=False),
    Column("reasons", ARRAY(String), nullable=False),
    Column("build_id", String, nullable=False),
    Column("subject", String, nullable=False),
    Column("documents", ARRAY(String), nullable=False),
    Column("people", ARRAY(String), nullable=False),
    Column("erased_people", Integer, nullable=False),
    Column("erased", Boolean, nullable=False),
    Column("created_at", MOMENT, nullable=False),
)
SHOWN = [column for column in BUILDS.c if column.name not in {"request_id", "work"}]
_LISTS = ("origins", "reasons", "documents", "people")


def build_of(row: Row[Any]) -> DatasetBuild:
    """Return a build from a row of SHOWN."""
    values = {column.name: getattr(row, column.name) for column in SHOWN}
    return DatasetBuild(**values | {"state": RunState(row.state), "origins": tuple(row.origins)})


def dataset_of(row: Row[Any]) -> KeptDataset:
    """Return a data set from its row."""
    values = {each.name: getattr(row, each.name) for each in fields(KeptDataset)}
    return KeptDataset(**values | {name: tuple(values[name]) for name in _LISTS})


def build_row(order: BuildOrder, build_id: str, now: datetime) -> dict[str, Any]:
    """Return the row of a build that is queued."""
    return {
        "tenant_id": order.identity.tenant_id,
        "build_id": build_id,
        "request_id": order.request_id or None,
        "state": RunState.QUEUED.value,
        "stage": "",
        "progress": 0.0,
        "kind": order.kind.value,
        "origins": list(order.origins),
        "subject": order.identity.subject,
        "work": _work_of(order),
        "dataset": "",
        "failure": "",
        "failure_message": "",
        "created_at": now,
    }


def order_of(row: Row[Any]) -> BuildOrder:
    """Return what a build shall do, from a row with its `work`."""
    work = row.work
    roles = frozenset(map(Role, work["roles"]))
    documents = work["documents"]
    return BuildOrder(
        identity=Identity(row.tenant_id, row.subject, tuple(work["principals"]), roles, work["actor"]),
        request_id=row.request_id or "",
        kind=Kind(row.kind),
        parameters=parameters_of(work["parameters"]),
        ratings=work["ratings"],
        rated_after=datetime.fromisoformat(work["rated_after"]) if work["rated_after"] else None,
        documents=FromDocuments(**documents | {"sources": tuple(documents["sources"])}) if documents else None,
        upload=work["upload"],
    )


def dataset_row(build: DatasetBuild, card: Card, now: datetime) -> dict[str, Any]:
    """Return the row of what a build made."""
    return {
        "tenant_id": build.tenant_id,
        "digest": card.digest,
        "kind": card.kind.value,
        **{f"{name}_rows": count for name, count in card.rows.items()},
        "origins": list(card.origins),
        "fit": card.fit,
        "reasons": list(card.reasons),
        "build_id": build.build_id,
        "subject": build.subject,
        "documents": list(card.documents),
        "people": list(card.people),
        "erased_people": 0,
        "erased": False,
        "created_at": now,
    }


def _work_of(order: BuildOrder) -> dict[str, Any]:
    who = order.identity
    return {
        "principals": list(who.principals),
        "roles": sorted(role.value for role in who.roles),
        "actor": who.actor,
        "parameters": asdict(order.parameters),
        "ratings": order.ratings,
        "rated_after": order.rated_after.isoformat() if order.rated_after else "",
        "documents": asdict(order.documents) if order.documents else None,
        "upload": order.upload,
    }
