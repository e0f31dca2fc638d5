"""Plots as SVG that stands in a page itself: one look for every report."""

import io

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Okabe and Ito's: told apart by colour-blind people, and the first two by their darkness in print.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7")
GREY = "#555555"


def axes_of(inches: float) -> tuple[Figure, Axes]:
    """Return an empty figure that is so many inches high, and its axes."""
    figure = Figure(figsize=(7.5, inches), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def drawn(figure: Figure, axes: Axes, *, legend: bool) -> str:
    """Return a figure's svg element alone, with its letters as letters."""
    if legend:
        axes.legend(frameon=False, loc="best")
    out = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "tandem", "font.family": "sans-serif"}):
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    text = out.getvalue()
    return text[text.index("<svg") :]
