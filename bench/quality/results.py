"""Figures as they were measured: kept by part and set, skipped where nothing changed, shown as a report."""

import dataclasses
import hashlib
import json
import platform
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from services.common.evaluation.bootstrap import difference, estimate

ROOT = Path(__file__).parent.parent.parent
# What a figure rests on.
MEASURED = ("services", "bench/quality")
REPORT = "report.md"

# A question's part of a figure: numerator and denominator.
Parts = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Figure:
    """A value with its 95% interval over `count` questions, and the bar that it is held against, if any."""

    configuration: str
    measure: str
    value: float
    low: float | None = None
    high: float | None = None
    count: int = 0
    at_least: float | None = None
    note: str = ""

    @property
    def holds(self) -> bool | None:
        return None if self.at_least is None else self.value >= self.at_least


def figure(
    configuration: str, measure: str, parts: Parts, *, at_least: float | None = None, note: str = ""
) -> list[Figure]:
    """Return the figure of a measure's parts with its bootstrap interval; none where they say nothing."""
    found = estimate([upper for upper, _ in parts], [lower for _, lower in parts])
    if found is None:
        return []
    return [Figure(configuration, measure, found.value, found.low, found.high, found.count, at_least, note)]


def compared(configuration: str, measure: str, first: Parts, second: Parts) -> list[Figure]:
    """Return how much higher `second` is than `first`, the same questions drawn for both."""
    columns = [([upper for upper, _ in parts], [lower for _, lower in parts]) for parts in (first, second)]
    found = difference(columns[0], columns[1])
    if found is None:
        return []
    note = f"p = {found.p_value:.2g}"
    return [Figure(configuration, measure, found.value, found.low, found.high, found.count, note=note)]


@dataclass(frozen=True, slots=True)
class Results:
    """A folder with a file for each part and set."""

    folder: Path
    code: str

    def has(self, part: str, name: str) -> bool:
        """Return whether this code was measured already."""
        path = self._path(part, name)
        return path.is_file() and bool(json.loads(path.read_bytes())["code"] == self.code)

    def keep(self, part: str, name: str, figures: Sequence[Figure]) -> None:
        body = {
            "part": part,
            "set": name,
            "code": self.code,
            "commit": commit(),
            "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": f"{platform.machine()}, {_cpu()}",
            "figures": [dataclasses.asdict(each) | {"holds": each.holds} for each in figures],
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        self._path(part, name).write_text(json.dumps(body, indent=2, ensure_ascii=False) + "\n")
        (self.folder / REPORT).write_text(report(self.all()))

    def all(self) -> list[dict[str, Any]]:
        """Return everything that was kept, of older code too: each says of which commit it is."""
        return [json.loads(path.read_bytes()) for path in sorted(self.folder.glob("*.json"))]

    def _path(self, part: str, name: str) -> Path:
        return self.folder / f"{part}-{name}.json"


def report(bodies: Iterable[dict[str, Any]]) -> str:
    """Return a Markdown table a part; a bar that is missed is shown as missed."""
    parts: dict[str, list[str]] = {}
    for body in bodies:
        rows = parts.setdefault(body["part"], [])
        rows += [_row(body, each) for each in body["figures"]]
    head = "| set | configuration | measure | value | 95% | questions | bar | | note | commit |\n" + "|---" * 10 + "|"
    return (
        "\n\n".join(["# Quality", *(f"## {part}\n\n{head}\n" + "\n".join(rows) for part, rows in parts.items())]) + "\n"
    )


def _row(body: dict[str, Any], each: dict[str, Any]) -> str:
    interval = "" if each["low"] is None else f"{_short(each['low'])} to {_short(each['high'])}"
    bar = "" if each["at_least"] is None else f"≥ {each['at_least']:g}"
    mark = {True: "holds", False: "**missed**", None: ""}[each["holds"]]
    cells = (body["set"], each["configuration"], each["measure"], _short(each["value"]), interval)
    return "| " + " | ".join((*cells, str(each["count"] or ""), bar, mark, each["note"], body["commit"])) + " |"


def _short(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def code_digest() -> str:
    """Return a digest of the code that is measured."""
    digest = hashlib.sha256()
    for folder in MEASURED:
        for path in sorted((ROOT / folder).rglob("*.py")):
            digest.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def commit() -> str:
    """Return the state of the code for people; with "+" where something is changed since."""
    try:
        named = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--exclude=*"],
            cwd=ROOT, capture_output=True, text=True, check=True, timeout=20,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return named.stdout.strip()


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return "unknown"
