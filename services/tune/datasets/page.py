"""A data set's report as one HTML page that needs nothing else."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from services.common.evaluation.pages import environment, marked
from services.tune.datasets.plots import lengths_plot, parts_plot, steps_plot


def page_of(report: Mapping[str, Any]) -> str:
    """Return the page; every text of the data is escaped in it."""
    steps, lengths, parts = marked(draw(report) for draw in (steps_plot, lengths_plot, parts_plot))
    template = environment(Path(__file__).parent).get_template("page.html")
    return template.render(report=report, steps=steps, lengths=lengths, parts=parts)
