"""How an evaluation looks in a terminal."""

from rich.console import Group, RenderableType
from rich.text import Text

from services.cli.evaluation.report import Report
from services.cli.output import visible
from services.cli.views.tables import counted, new_table
from services.common.evaluation.bootstrap import Difference, Estimate


def report_table(report: Report) -> RenderableType:
    """Return the figures, a row a measure, and what there is to know of them."""
    names = [f"{label} {visible(each.name)}" for label, each in zip("AB", report.evaluated, strict=False)]
    drawn = new_table("measure", *names, *(("A minus B", "p") if report.differences else ()))
    for measure in report.measures:
        cells = [_figure(each.figures.get(measure)) for each in report.evaluated]
        drawn.add_row(measure, *cells, *(_difference(report.differences.get(measure)) if report.differences else ()))
    lines = [Text(visible(note), "yellow") for note in report.notes]
    for name, each in zip(names, report.evaluated, strict=True):
        if taken := each.seconds():
            marks = ", ".join(f"{mark} {seconds * 1000:.0f} ms" for mark, seconds in taken.items())
            lines.append(Text(f"{name}: {counted(len(each.run.answered), 'question')}, {marks}", "dim"))
    return Group(Text(f"{report.kind} on {visible(report.set_name)}", "bold"), drawn, *lines)


def _figure(figure: Estimate | None) -> Text:
    if figure is None:
        return Text("-", "dim")
    return Text.assemble((f"{figure.value:.3f}", "bold"), (f" [{figure.low:.3f}, {figure.high:.3f}]", "dim"))


def _difference(difference: Difference | None) -> tuple[Text, Text]:
    if difference is None:
        return Text("-", "dim"), Text("")
    colour = "" if not difference.is_significant else "green" if difference.value > 0 else "red"
    interval = f" [{difference.low:+.3f}, {difference.high:+.3f}]"
    return Text.assemble((f"{difference.value:+.3f}", colour), (interval, "dim")), Text(f"{difference.p_value:.4f}")
