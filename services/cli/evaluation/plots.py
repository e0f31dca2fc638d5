"""The plots of a report, as SVG that stands in the page itself; no text of a set is in them."""

from services.cli.evaluation.report import Report
from services.common.evaluation.drawing import COLOURS, GREY, axes_of, drawn

LABELS = "ABCD"
BINS = 10


def figures_plot(report: Report) -> str:
    """Draw every figure with its interval, configurations beside each other."""
    names = report.measures
    figure, axes = axes_of(1.0 + 0.42 * len(names))
    height = 0.8 / len(report.evaluated)
    for place, each in enumerate(report.evaluated):
        rows = [row for row, name in enumerate(names) if name in each.figures]
        found = [each.figures[names[row]] for row in rows]
        values = [one.value for one in found]
        spread = [[one.value - one.low for one in found], [one.high - one.value for one in found]]
        axes.barh(
            [row + (place - (len(report.evaluated) - 1) / 2) * height for row in rows],
            values,
            height=height * 0.9,
            # The bootstrap's interval may lie beside a value at the edge by a rounding error.
            xerr=[[max(0.0, one) for one in side] for side in spread],
            color=COLOURS[place],
            ecolor=GREY,
            label=_label(place),
        )
    axes.set_yticks(range(len(names)), names, parse_math=False)
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    return drawn(figure, axes, legend=len(report.evaluated) > 1)


def distribution_plot(report: Report, measure: str) -> str:
    """Draw how many questions have which value of a measure."""
    figure, axes = axes_of(2.6)
    values = [_values(report, place, measure) for place in range(len(report.evaluated))]
    axes.hist(
        values,
        bins=BINS,
        range=(0, 1),
        color=COLOURS[: len(values)],
        label=[_label(place) for place in range(len(values))],
    )
    axes.set_xlabel(f"{measure} of a question")
    axes.set_ylabel("questions")
    return drawn(figure, axes, legend=len(values) > 1)


def differences_plot(report: Report, measure: str) -> str:
    """Draw how much higher A is than B, question by question, the greatest gain first."""
    first, second = report.evaluated
    pairs = [(first.value(measure, key), second.value(measure, key)) for key in first.parts.get(measure, {})]
    gains = sorted((one - other for one, other in pairs if one is not None and other is not None), reverse=True)
    figure, axes = axes_of(2.6)
    # One path a side, however many questions there are.
    axes.stairs([max(gain, 0.0) for gain in gains], fill=True, color=COLOURS[0])
    axes.stairs([min(gain, 0.0) for gain in gains], fill=True, color=COLOURS[1])
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.set_xlabel("questions")
    axes.set_ylabel(f"{measure}: A minus B")
    return drawn(figure, axes, legend=False)


def _values(report: Report, place: int, measure: str) -> list[float]:
    each = report.evaluated[place]
    values = (each.value(measure, key) for key in each.parts.get(measure, {}))
    return [value for value in values if value is not None]


def _label(place: int) -> str:
    return LABELS[place]
