"""A comparison as one HTML page that needs nothing else: verdict, figures, plots, and the worst cases side by side."""

from collections.abc import Iterator
from pathlib import Path

from services.cli.comparison.plots import plots_of
from services.cli.comparison.result import Comparison
from services.cli.comparison.verdict import Verdict, is_shown
from services.cli.comparison.ways import SHOWN_PAIRS, WAYS
from services.cli.evaluation import page
from services.cli.evaluation.page import WORST, Case, case_of, score_of, telling_measure
from services.common.evaluation.drawing import COLOURS
from services.common.evaluation.pages import environment, marked

TEMPLATE = "compare.html"


def page_of(found: Comparison, verdict: Verdict) -> str:
    """Return the page; every text of the set and of the platform is escaped in it."""
    folders = (Path(__file__).parent, Path(page.__file__).parent)
    measure = found.deciding or telling_measure(found.quality)
    return (
        environment(*folders)
        .get_template(TEMPLATE)
        .render(
            found=found,
            report=found.quality,
            verdict=verdict,
            ways=WAYS,
            pairs=SHOWN_PAIRS,
            is_shown=is_shown,
            colours=COLOURS,
            plots=marked(plots_of(found)),
            measure=measure,
            use=verdict.use or WAYS[-1],
            cases=list(worst_cases(found, verdict.use or WAYS[-1], measure)),
        )
    )


def worst_cases(found: Comparison, use: str, measure: str) -> Iterator[Case]:
    """Yield the questions on which `use` is most below the best of the other ways, then those where it is lowest."""
    report = found.quality
    outcomes = [each.by_question for each in report.evaluated]
    place = WAYS.index(use)
    ranks: dict[str, tuple[float, float]] = {}
    for key, outcome in outcomes[place].items():
        pairs = zip(report.evaluated, outcomes, strict=True)
        scores = [score_of(each, measure, outcome.question, by_id.get(key)) for each, by_id in pairs]
        mine = scores[place]
        others = [score for score in (*scores[:place], *scores[place + 1 :]) if score is not None]
        if mine is not None and others:
            ranks[key] = (mine - max(others), mine)
    for key in sorted(ranks, key=lambda key: ranks[key])[:WORST]:
        yield case_of(report, measure, outcomes[place][key].question, outcomes)
