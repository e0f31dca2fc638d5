"""Rows of measurements, each beside its reference, as a table for people and JSON for programs."""

import dataclasses
import json
import platform
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of the platform beside its reference, and what is asked of it.

    `figure` is what the bar is held against: a ratio, a difference or the value itself.
    `at_least` and `at_most` are bars; a row with neither only informs.
    """

    name: str
    unit: str
    measured: float
    reference: float | None = None
    figure: float | None = None
    at_least: float | None = None
    at_most: float | None = None
    note: str = ""

    @property
    def holds(self) -> bool | None:
        if self.figure is None or (self.at_least is None and self.at_most is None):
            return None
        high_enough = self.at_least is None or self.figure >= self.at_least
        return high_enough and (self.at_most is None or self.figure <= self.at_most)


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value that `share` of the values do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, round(share * len(ordered)) - 1))]


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def write(rows: Sequence[Row], path: Path) -> None:
    """Write the rows as JSON, with the machine that they were measured on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    machine = {"python": platform.python_version(), "machine": platform.machine(), "cpu": _cpu()}
    body = [dataclasses.asdict(row) | {"holds": row.holds} for row in rows]
    path.write_text(json.dumps({"machine": machine, "rows": body}, indent=2) + "\n")


def show(rows: Sequence[Row], console: Console) -> None:
    """Print the rows as one table; a bar that is missed is shown as missed."""
    table = Table(title="Tandem beside its references", title_justify="left")
    for heading in ("what", "unit", "Tandem", "reference", "figure", "bar", ""):
        table.add_column(heading, justify="left" if heading in {"what", "unit", ""} else "right")
    for row in rows:
        table.add_row(
            row.name, row.unit, *map(_short, (row.measured, row.reference, row.figure)), _bar(row), _mark(row)
        )
    console.print(table)
    if any(row.holds is False for row in rows):
        console.print("What was found about missed bars is in docs/benchmarks.md.")
    for row in rows:
        if row.note:
            console.print(f"[dim]{row.name}:[/dim] {row.note}")


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:,.4g}"


def _bar(row: Row) -> str:
    if row.at_least is not None:
        return f"≥ {_short(row.at_least)}"
    return "" if row.at_most is None else f"≤ {_short(row.at_most)}"


def _mark(row: Row) -> str:
    return {True: "[green]holds[/green]", False: "[red]missed[/red]", None: ""}[row.holds]


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return "unknown"
