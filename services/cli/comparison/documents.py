"""A comparison as JSON has it."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from services.cli.comparison.freshness import Freshness
from services.cli.comparison.result import Comparison, Standing
from services.cli.comparison.verdict import Verdict, is_shown
from services.cli.comparison.ways import PAIRS
from services.cli.evaluation.outcomes import Outcome
from services.cli.evaluation.report import Evaluated

FORMAT = 1


def as_json(found: Comparison, verdict: Verdict) -> dict[str, Any]:
    """Return a comparison for programs; `questions` holds every answer."""
    report = found.quality
    return {
        "format": FORMAT,
        "set": report.set_name,
        "assistant": found.assistant or "default",
        "adapter": {"name": found.adapter, "digest": found.digest},
        "asked": found.asked,
        "compared": found.questions,
        "whole": report.is_whole,
        "notes": list(report.notes),
        "prices": found.prices.basis if found.prices else None,
        "deciding": found.deciding,
        "ways": [_way(each, spent) for each, spent in zip(report.evaluated, found.spending, strict=True)],
        "differences": _differences(found.standing, found.costs),
        "judge": _judge(found),
        "freshness": _freshness(found.freshness),
        "verdict": {"use": verdict.use, "certainty": verdict.certainty.value, "paragraph": verdict.paragraph},
        "questions": _questions(found),
    }


def _way(quality: Evaluated, spending: Evaluated) -> dict[str, Any]:
    figures = {**quality.figures, **spending.figures}
    return {
        "name": quality.name,
        "failed": len(quality.run.failed),
        "seconds": quality.seconds(),
        "figures": {measure: asdict(figure) for measure, figure in figures.items()},
    }


def _differences(*standings: Standing) -> list[dict[str, Any]]:
    """Return every two ways with how much higher the second is than the first."""
    return [
        {
            "first": first,
            "second": second,
            "measures": {
                measure: {**asdict(each), "shown": is_shown(each)}
                for standing in standings
                for measure, each in standing.differences.get((first, second), {}).items()
            },
        }
        for first, second in PAIRS
    ]


def _judge(found: Comparison) -> dict[str, Any] | None:
    judged = found.judged
    if judged is None:
        return None
    return {"pairs": judged.pairs, "failed": judged.failed, "wavered": judged.wavered, "whole": judged.is_whole}


def _freshness(freshness: Freshness) -> dict[str, Any]:
    learnt = asdict(freshness.learnt)
    made_at = freshness.learnt.made_at
    return {
        "learnt": {**learnt, "made_at": made_at.isoformat() if made_at else None},
        "followed": {way: asdict(each) for way, each in freshness.followed.items()},
        "why_not": freshness.why_not,
    }


def _questions(found: Comparison) -> list[dict[str, Any]]:
    answers: dict[str, tuple[Outcome, dict[str, Any]]] = {}
    for each in found.quality.evaluated:
        for outcome in each.run.outcomes:
            kept = answers.setdefault(outcome.question.id, (outcome, {}))
            kept[1][each.name] = _answer(each, outcome)
    return [
        {
            "id": question_id,
            "question": first.question.text,
            "answers": list(first.question.answers),
            "answerable": first.question.answerable,
            "ways": ways,
        }
        for question_id, (first, ways) in answers.items()
    ]


def _answer(each: Evaluated, outcome: Outcome) -> Mapping[str, Any]:
    if outcome.reply is None:
        return {"error": outcome.error, "seconds": outcome.seconds}
    scores = {measure: each.value(measure, outcome.question.id) for measure in each.parts}
    return {
        "answer": outcome.reply.text,
        "abstained": outcome.reply.abstained,
        "cited": [citation.document_id for citation in outcome.reply.citations],
        "seconds": outcome.seconds,
        "usage": asdict(outcome.reply.usage),
        "scores": {measure: value for measure, value in scores.items() if value is not None},
    }
