"""A report as one HTML page that needs nothing else: figures, plots, and the worst questions side by side."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from services.cli.evaluation import plots
from services.cli.evaluation.outcomes import Cited, Found, Outcome, Reply
from services.cli.evaluation.report import Evaluated, Report
from services.common.evaluation.drawing import COLOURS
from services.common.evaluation.pages import environment, marked
from services.common.evaluation.questions import Question

WORST = 20
SHOWN_PASSAGES = 5
# The first of these that a report has is what its questions are sorted by.
TELLING = ("F1", "citation precision", "groundedness")


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of an answer; `unsupported` where no passage supports it."""

    text: str
    unsupported: bool


@dataclass(frozen=True, slots=True)
class Side:
    """What one configuration made of a question."""

    label: str
    score: float | None
    outcome: Outcome | None
    pieces: tuple[Piece, ...]
    relevant: frozenset[str]

    @property
    def shown(self) -> tuple[Found, ...]:
        return self.outcome.found[:SHOWN_PASSAGES] if self.outcome else ()

    def is_relevant(self, passage: Found | Cited) -> bool:
        """Return whether a passage or a citation is of a document that should have been found."""
        return passage.document_id in self.relevant


@dataclass(frozen=True, slots=True)
class Case:
    """A question, what it should have given, and what it gave."""

    question: Question
    gold: tuple[str, ...]
    sides: tuple[Side, ...]


def page_of(report: Report) -> str:
    """Return the page; every text of the set and of the platform is escaped in it."""
    measure = telling_measure(report)
    return (
        environment(Path(__file__).parent)
        .get_template("page.html")
        .render(
            report=report,
            labels=plots.LABELS,
            colours=COLOURS,
            plots=marked(_drawn(report, measure)),
            measure=measure,
            cases=list(worst_cases(report, measure)),
        )
    )


def telling_measure(report: Report) -> str:
    """Return the measure that questions are sorted by; "" where nothing was measured."""
    return next((name for name in (*TELLING, *report.measures) if name in report.measures), "")


def _drawn(report: Report, measure: str) -> Iterator[str]:
    if not measure:
        return
    yield plots.figures_plot(report)
    yield plots.distribution_plot(report, measure)
    if len(report.evaluated) > 1:
        yield plots.differences_plot(report, measure)


def worst_cases(report: Report, measure: str) -> Iterator[Case]:
    """Yield the questions that went worst: where A is most under B, or else where A is lowest."""
    outcomes = [each.by_question for each in report.evaluated]
    questions = {key: outcome.question for each in reversed(outcomes) for key, outcome in each.items()}
    ranks = {key: rank for key in questions if (rank := _rank(report, measure, questions[key], outcomes)) is not None}
    for key in sorted(ranks, key=lambda key: ranks[key])[:WORST]:
        yield case_of(report, measure, questions[key], outcomes)


def _rank(
    report: Report, measure: str, question: Question, outcomes: list[dict[str, Outcome]]
) -> tuple[float, float] | None:
    """Return what sorts a question: the worst is the lowest; None where nothing can be said of it."""
    scores = [
        score_of(each, measure, question, by_question.get(question.id))
        for each, by_question in zip(report.evaluated, outcomes, strict=True)
    ]
    if scores[0] is None or None in scores:
        return None
    return (scores[0] - (scores[-1] or 0.0) if len(scores) > 1 else scores[0], scores[0])


def score_of(each: Evaluated, measure: str, question: Question, outcome: Outcome | None) -> float | None:
    """Return a measure's value; of a question without an answer, whether it was left unanswered."""
    if not question.answerable and outcome and outcome.reply:
        return float(outcome.reply.abstained)
    return each.value(measure, question.id)


def case_of(report: Report, measure: str, question: Question, outcomes: list[dict[str, Outcome]]) -> Case:
    """Return a question with what each configuration made of it; `outcomes` are theirs by question."""
    documents = report.relevant.get(question.id, {})
    sides = []
    for label, each, by_question in zip(plots.LABELS, report.evaluated, outcomes, strict=False):
        outcome = by_question.get(question.id)
        pieces = tuple(pieces_of(outcome.reply)) if outcome and outcome.reply else ()
        score = score_of(each, measure, question, outcome)
        sides.append(Side(label, score, outcome, pieces, frozenset(documents)))
    return Case(question, tuple(report.titles.get(key, key.removeprefix("?")) for key in documents), tuple(sides))


def pieces_of(reply: Reply) -> Iterator[Piece]:
    """Yield an answer cut where its unsupported spans begin and end; spans that make no sense are left out."""
    at = 0
    for start, end in sorted(reply.unsupported):
        if not at <= start < end <= len(reply.text):
            continue
        if start > at:
            yield Piece(reply.text[at:start], unsupported=False)
        yield Piece(reply.text[start:end], unsupported=True)
        at = end
    if at < len(reply.text):
        yield Piece(reply.text[at:], unsupported=False)
