"""What an evaluation found, for people and for programs: figures, differences, notes, and each question."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import quantiles
from typing import Any

from services.cli.evaluation.outcomes import Outcome
from services.cli.evaluation.running import Run
from services.cli.views.tables import counted
from services.common.evaluation import answers, measures
from services.common.evaluation.bootstrap import Difference, Estimate
from services.common.evaluation.questions import Question
from services.common.evaluation.results import Parts, by_measure, differences, figures, parts_of

Relevant = Mapping[str, Mapping[str, int]]
# Gives every measure's part of every outcome.
Score = Callable[[Sequence[Outcome]], Parts]


@dataclass(frozen=True, slots=True)
class Evaluated:
    """One configuration on one set."""

    name: str
    run: Run
    parts: Parts
    figures: Mapping[str, Estimate]

    @property
    def by_question(self) -> dict[str, Outcome]:
        return {outcome.question.id: outcome for outcome in self.run.answered}

    def value(self, measure: str, question_id: str) -> float | None:
        """Return a measure's value of one question; None where it says nothing of it."""
        upper, lower = self.parts.get(measure, {}).get(question_id, answers.SAYS_NOTHING)
        return upper / lower if lower else None

    def seconds(self) -> dict[str, float]:
        """Return the median and the 95th percentile of what a question took."""
        taken = [outcome.seconds for outcome in self.run.answered]
        if not taken:
            return {}
        marks = quantiles(taken, n=20, method="inclusive") if len(taken) > 1 else taken * 19
        return {"p50": marks[9], "p95": marks[18]}


@dataclass(frozen=True, slots=True)
class Report:
    """One configuration on a set, or two: then `differences` are how much higher the first is than the second."""

    kind: str
    set_name: str
    evaluated: tuple[Evaluated, ...]
    differences: Mapping[str, Difference]
    notes: tuple[str, ...]
    relevant: Relevant = field(default_factory=dict)
    titles: Mapping[str, str] = field(default_factory=dict)

    @property
    def measures(self) -> list[str]:
        return list(dict.fromkeys(measure for each in self.evaluated for measure in each.figures))

    @property
    def is_whole(self) -> bool:
        return all(each.run.is_whole for each in self.evaluated)


def evaluated(name: str, run: Run, score: Score) -> Evaluated:
    """Return what a run is worth; what failed is no part of any figure."""
    parts = score(run.answered)
    return Evaluated(name, run, parts, figures(parts))


def compared(each: Sequence[Evaluated]) -> dict[str, Difference]:
    """Return how much higher the first is than the second, if there are two."""
    return differences(each[1].parts, each[0].parts) if len(each) > 1 else {}


def passages_score(relevant: Relevant, k: int) -> Score:
    """Return how searches are scored."""

    def score(outcomes: Sequence[Outcome]) -> Parts:
        found = {outcome.question.id: outcome.documents for outcome in outcomes}
        asked = {question_id: relevant[question_id] for question_id in found}
        return parts_of(measures.retrieval_scores(asked, found, k)) if asked else {}

    return score


def answers_score(relevant: Relevant, language: str) -> Score:
    """Return how answers are scored."""

    def score(outcomes: Sequence[Outcome]) -> Parts:
        return by_measure({outcome.question.id: _answer_parts(outcome, relevant, language) for outcome in outcomes})

    return score


def _answer_parts(outcome: Outcome, relevant: Relevant, language: str) -> dict[str, answers.Part]:
    question, reply = outcome.question, outcome.reply
    if reply is None:
        return {}
    answered = answers.Answered(
        text=reply.words,
        cited=[citation.document_id for citation in reply.citations],
        supported_sentences=reply.supported_share * reply.sentences,
        sentences=reply.sentences,
        abstained=reply.abstained,
    )
    documents = relevant.get(question.id, {})
    return answers.scores(
        answered, answers.Gold(question.answers, documents, question.answerable, question.language or language)
    )


def notes_of(questions: Sequence[Question], runs: Mapping[str, Run], unknown: int) -> tuple[str, ...]:
    """Return what a reader of the figures has to know."""
    notes = []
    if unread := sum(not question.reviewed for question in questions):
        notes.append(f"{counted(unread, 'question')} of the set nobody has reviewed yet")
    if unknown:
        notes.append(f"{counted(unknown, 'document')} of the set not known here: counted as not found")
    for name, run in runs.items():
        if not run.is_whole:
            notes.append(f"{name}: interrupted after {len(run.outcomes)} of {counted(len(questions), 'question')}")
        if run.failed:
            reasons = ", ".join(sorted({outcome.error for outcome in run.failed}))
            notes.append(f"{name}: {counted(len(run.failed), 'question')} failed and count nowhere ({reasons})")
    return tuple(notes)


def as_json(report: Report) -> dict[str, Any]:
    """Return a report for programs."""
    return {
        "kind": report.kind,
        "set": report.set_name,
        "whole": report.is_whole,
        "notes": list(report.notes),
        "configurations": [
            {
                "name": each.name,
                "asked": len(each.run.outcomes),
                "failed": len(each.run.failed),
                "seconds": each.seconds(),
                "figures": {measure: asdict(figure) for measure, figure in each.figures.items()},
            }
            for each in report.evaluated
        ],
        "differences": {
            measure: {**asdict(each), "significant": each.is_significant}
            for measure, each in report.differences.items()
        },
        "questions": _questions_json(report),
    }


def _questions_json(report: Report) -> list[dict[str, Any]]:
    """Return what each configuration made of each question, questions in the set's order."""
    results: dict[str, list[dict[str, Any]]] = {}
    for each in report.evaluated:
        for outcome in each.run.outcomes:
            results.setdefault(outcome.question.id, []).append(_outcome_json(each, outcome))
    return [{"id": question_id, "results": found} for question_id, found in results.items()]


def _outcome_json(each: Evaluated, outcome: Outcome) -> dict[str, Any]:
    scores = {measure: each.value(measure, outcome.question.id) for measure in each.parts}
    result: dict[str, Any] = {
        "configuration": each.name,
        "seconds": outcome.seconds,
        "scores": {measure: value for measure, value in scores.items() if value is not None},
        "documents": list(outcome.documents),
    }
    result |= {"error": outcome.error} if outcome.error else {}
    return result | ({"answer": outcome.reply.text, "abstained": outcome.reply.abstained} if outcome.reply else {})
