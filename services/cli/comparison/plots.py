"""The plots of a comparison beside those of every report: how the ways differ, and what they take."""

from collections.abc import Iterator

from services.cli.comparison.result import COST, FIRST_TOKEN, READ, TOTAL, WRITTEN, Comparison
from services.cli.comparison.ways import PAIRS, WAYS
from services.cli.evaluation.plots import distribution_plot, figures_plot
from services.common.evaluation.drawing import COLOURS, GREY, axes_of, drawn

TAKEN = (FIRST_TOKEN, TOTAL, READ, WRITTEN, COST)


def plots_of(found: Comparison) -> Iterator[str]:
    """Yield the plots as SVG, the most telling first."""
    yield figures_plot(found.quality)
    if measure := found.deciding:
        yield differences_plot(found, measure)
        yield distribution_plot(found.quality, measure)
    yield spending_plot(found)


def differences_plot(found: Comparison, measure: str) -> str:
    """Draw by every two ways how much higher the second is, with the interval of that."""
    gains = [(pair, found.standing.between(*pair, measure)) for pair in PAIRS]
    figure, axes = axes_of(2.8)
    for row, (_, gain) in enumerate(gains):
        if gain is not None:
            axes.plot([gain.low, gain.high], [row, row], color=COLOURS[0], linewidth=2)
            axes.plot([gain.value], [row], "o", color=COLOURS[0])
    axes.axvline(0, color=GREY, linewidth=0.8)
    axes.set_yticks(range(len(gains)), [f"{second} minus {first}" for (first, second), _ in gains])
    axes.invert_yaxis()
    axes.set_xlabel(f"difference in {measure}, with its 95% interval")
    return drawn(figure, axes, legend=False)


def spending_plot(found: Comparison) -> str:
    """Draw what an answer takes in each way: time, tokens, and money where there are prices."""
    measures = [each for each in TAKEN if each in found.costs.measures]
    figure, first = axes_of(1.4 * len(measures))
    first.remove()
    for place, measure in enumerate(measures):
        axes = figure.add_subplot(len(measures), 1, place + 1)
        axes.spines[["top", "right"]].set_visible(False)
        estimates = [found.costs.figures[way][measure] for way in WAYS]
        axes.barh(
            list(WAYS),
            [each.value for each in estimates],
            xerr=[
                [max(0.0, each.value - each.low) for each in estimates],
                [max(0.0, each.high - each.value) for each in estimates],
            ],
            color=COLOURS,
            ecolor=GREY,
        )
        axes.invert_yaxis()
        axes.set_title(measure, fontsize="medium", loc="left")
    return drawn(figure, first, legend=False)
