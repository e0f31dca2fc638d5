"""How data sets, their reports and their rows are drawn."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text
from tandem.tune.v1 import dataset_service_pb2 as pb

from services.cli.output import visible
from services.cli.views.tables import counted, table

COLUMNS = ("digest", "kind", "origins", "train", "validation", "test", "fit", "stale", "created_at")


def row_of(each: Mapping[str, Any]) -> dict[str, Any]:
    """Return a data set's line in a table."""
    parts = {name: each[f"{name}_rows"] for name in ("train", "validation", "test")}
    return {**each, **parts, "digest": each["digest"][:12]}


def dataset(found: pb.Dataset) -> RenderableType:
    """Return a data set with its verdict."""
    lines = [
        Text(f"data set {found.digest}"),
        Text(f"{found.train_rows} rows to learn from, {found.validation_rows} to validate, {found.test_rows} to test"),
        Text(f"{counted(found.document_count, 'document')}, {_people(found.person_count)} behind them"),
        Text("fit to learn from" if found.fit else "not fit to learn from", "bold"),
        *(Text(visible(reason)) for reason in found.reasons),
    ]
    if found.erased:
        lines.append(Text("somebody behind its rows was erased, and its rows with them: build it again"))
    elif found.stale:
        lines.append(Text(f"{counted(found.deleted_documents, 'document')} behind it deleted since"))
    return Group(*lines)


def report(found: Mapping[str, Any], withheld: int) -> RenderableType:
    """Return the report: its verdict, and what each step let through."""
    verdict = found["verdict"]
    steps = [
        {"step": each["name"], "in": each["in"], "out": each["out"], "dropped": _counts(each["dropped"])}
        for each in found["steps"]
    ]
    whole = found["lengths"]["whole"]
    lengths = (
        f"{found['lengths']['unit']}: half up to {whole['p50']}, 95% up to {whole['p95']}, all up to {whole['max']}"
    )
    return Group(
        Text("fit to learn from" if verdict["fit"] else "not fit to learn from", "bold"),
        *(Text(visible(each)) for each in (*verdict["reasons"], *verdict["warnings"])),
        table(steps, ("step", "in", "out", "dropped")),
        Text(f"{lengths}; {found['lengths']['limit']} fit"),
        Text(f"sources: {_counts(found['coverage']['sources'])}"),
        Text(f"languages: {_counts(found['coverage']['languages'])}"),
        Text(f"{withheld} texts are withheld from you" if withheld else "", "dim"),
    )


def rows(found: Sequence[Mapping[str, Any]], withheld: int) -> RenderableType:
    """Return rows, a question with its answers each."""
    lines = [Text.assemble((visible(each["question"]), "bold"), *_told(each)) for each in found]
    rest = [Text(f"{counted(withheld, 'row')} withheld from you", "dim")] if withheld else []
    return Group(*lines, *rest) if lines or rest else Text("none", "dim")


def _told(row: Mapping[str, Any]) -> list[str]:
    told = {name: row[name] for name in ("completion", "chosen", "rejected") if name in row}
    if "label" in row:
        told = {"good" if row["label"] else "bad": row["completion"]}
    if "answers" in row:
        told = {"answers": " · ".join(row["answers"]) if row["answerable"] else "(the passages do not tell)"}
    return [f"\n  {name}: {' '.join(visible(text).split())}" for name, text in told.items()]


def _counts(counts: Mapping[str, int]) -> str:
    return visible(", ".join(f"{count} {name}" for name, count in counts.items()))


def _people(count: int) -> str:
    return "1 person" if count == 1 else f"{count} people"
