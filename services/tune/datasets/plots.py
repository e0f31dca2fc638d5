"""The plots of a data set's report."""

from collections.abc import Mapping
from typing import Any

from services.common.evaluation.drawing import COLOURS, GREY, axes_of, drawn


def steps_plot(report: Mapping[str, Any]) -> str:
    """Draw how many rows each step let through."""
    steps = report["steps"]
    figure, axes = axes_of(1.0 + 0.32 * len(steps))
    axes.barh(range(len(steps)), [each["in"] for each in steps], color=COLOURS[1], label="in")
    axes.barh(range(len(steps)), [each["out"] for each in steps], color=COLOURS[0], label="out")
    axes.set_yticks(range(len(steps)), [each["name"] for each in steps], parse_math=False)
    axes.invert_yaxis()
    axes.set_xlabel("rows")
    return drawn(figure, axes, legend=True)


def lengths_plot(report: Mapping[str, Any]) -> str:
    """Draw how long rows are, prompt and answer together, beside the limit."""
    found, limit = report["lengths"]["whole"], report["lengths"]["limit"]
    figure, axes = axes_of(2.6)
    edges = [found["width"] * place for place in range(len(found["counts"]) + 1)]
    if found["counts"]:
        axes.stairs(found["counts"], edges, fill=True, color=COLOURS[0])
    axes.axvline(limit, color=GREY, linestyle="--", label="limit")
    axes.set_xlabel(f"{report['lengths']['unit']} of prompt and answer")
    axes.set_ylabel("rows")
    return drawn(figure, axes, legend=True)


def parts_plot(report: Mapping[str, Any]) -> str:
    """Draw how many rows each part has, and what they are."""
    rows = {**report["rows"], **report["balance"]}
    figure, axes = axes_of(0.8 + 0.3 * len(rows))
    axes.barh(range(len(rows)), list(rows.values()), color=COLOURS[0])
    axes.set_yticks(range(len(rows)), list(rows), parse_math=False)
    axes.invert_yaxis()
    axes.set_xlabel("rows")
    return drawn(figure, axes, legend=False)
