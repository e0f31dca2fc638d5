"""How a comparison of the four ways looks in a terminal."""

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from services.cli.comparison.freshness import Followed
from services.cli.comparison.result import Comparison, Standing
from services.cli.comparison.verdict import Verdict, is_shown
from services.cli.comparison.ways import SHOWN_PAIRS, WAYS
from services.cli.output import visible
from services.cli.views.tables import counted, new_table
from services.common.evaluation.bootstrap import Difference, Estimate


def comparison_view(found: Comparison, verdict: Verdict) -> RenderableType:
    """Return the figures of each way, how they differ, how fresh they are, and the verdict."""
    name = visible(found.quality.set_name)
    head = f"{counted(found.questions, 'question')} of {name}, adapter {visible(found.adapter)} ({found.digest[:19]})"
    parts: list[RenderableType] = [
        Text(head, "bold"),
        _figures(found),
        Text("differences", "bold"),
        _differences(found),
    ]
    parts += [Text(visible(line), "dim") for line in _facts(found)]
    if found.freshness.followed:
        parts.append(_freshness(found))
    parts += [Text(visible(note), "yellow") for note in found.quality.notes]
    parts.append(Padding(Text(visible(verdict.paragraph)), (1, 0, 0, 0)))
    return Group(*parts)


def _figures(found: Comparison) -> RenderableType:
    drawn = new_table("measure", *WAYS)
    for standing in (found.standing, found.costs):
        for measure in standing.measures:
            digits = standing.decimals(measure)
            drawn.add_row(measure, *(_figure(standing.figures[way].get(measure), digits) for way in WAYS))
    for mark in ("p50", "p95"):
        row = [f"{each.seconds()[mark]:.2f}" if each.seconds() else "-" for each in found.spending]
        drawn.add_row(f"{mark} of whole answers, s", *row)
    return drawn


def _differences(found: Comparison) -> RenderableType:
    drawn = new_table("measure", *(f"{second} minus {first}" for first, second in SHOWN_PAIRS))
    for standing in (found.standing, found.costs):
        for measure in standing.measures:
            digits = standing.decimals(measure)
            drawn.add_row(measure, *_row(standing, measure, digits))
    return drawn


def _row(standing: Standing, measure: str, digits: int) -> Iterator[Text]:
    for first, second in SHOWN_PAIRS:
        yield _difference(standing.between(first, second, measure), digits)


def _facts(found: Comparison) -> Iterator[str]:
    yield "brackets: 95% bootstrap intervals; bold: shown, counting that four ways are compared; p of a pair alone"
    if found.prices:
        yield f"cost {found.prices.basis}"
    if found.judged:
        judged = found.judged
        yield (
            f"judge: share of answers that are better than RAG's, ties half; {counted(judged.pairs, 'pair')},"
            f" {judged.failed} without a verdict, {judged.wavered} went by the order and count as ties"
        )


def _freshness(found: Comparison) -> RenderableType:
    drawn = new_table("when a fact changed", *WAYS)
    followed = found.freshness.followed
    drawn.add_row("knew it before", *("yes" if followed[way].knew else "no" for way in WAYS))
    drawn.add_row("was given the new one after", *(_after(followed[way].shown_seconds) for way in WAYS))
    drawn.add_row("told the new one after", *(_told(followed[way]) for way in WAYS))
    return drawn


def _told(followed: Followed) -> str:
    if followed.error:
        return "no answer"
    return "still the old one" if followed.is_stale else _after(followed.told_seconds)


def _after(seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds:.1f} s"


def _figure(figure: Estimate | None, digits: int) -> Text:
    if figure is None:
        return Text("-", "dim")
    interval = f" [{figure.low:.{digits}f}, {figure.high:.{digits}f}]"
    return Text.assemble((f"{figure.value:.{digits}f}", "bold"), (interval, "dim"))


def _difference(gain: Difference | None, digits: int) -> Text:
    if gain is None:
        return Text("-", "dim")
    interval = f" [{gain.low:+.{digits}f}, {gain.high:+.{digits}f}] p {gain.p_value:.4f}"
    return Text.assemble((f"{gain.value:+.{digits}f}", "bold" if is_shown(gain) else ""), (interval, "dim"))
