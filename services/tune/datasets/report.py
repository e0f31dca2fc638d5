"""What was counted when a data set was built, as JSON: for programs, and for the page that people read."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from services.common.grounding.abstention import says_nothing
from services.tune.datasets.citing import cited_by
from services.tune.datasets.clean.lengths import Lengths
from services.tune.datasets.counting import StepReport
from services.tune.datasets.rows import Kind, Row, columns_of, record_of
from services.tune.datasets.splitting import TEST, TRAIN
from services.tune.datasets.verdict import Verdict

SAMPLES = {TRAIN: 6, TEST: 3}
TOPICS = 20
BINS = 20
_PERCENTILES = (0.5, 0.95, 1.0)


def report_of(
    kind: Kind,
    splits: Mapping[str, Sequence[Row]],
    steps: Sequence[StepReport],
    lengths: Lengths,
    facts: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the report; `facts` has what else is to stand in it, such as the parameters."""
    rows = [row for part in splits.values() for row in part]
    return {
        "kind": kind.value,
        **facts,
        "rows": {name: len(part) for name, part in splits.items()},
        "steps": [each.as_json() for each in steps],
        "balance": _balance(kind, rows),
        "lengths": _lengths(rows, lengths),
        "coverage": {
            "sources": _counted((row.source or "(unknown)" for row in rows), TOPICS),
            "languages": _counted((row.language or "(unknown)" for row in rows), TOPICS),
            "topics": _topics(rows),
        },
        "samples": [
            {"split": name, "row": record_of(row, columns_of(kind))}
            for name, number in SAMPLES.items()
            for row in splits[name][:number]
        ],
    }


def with_verdict(report: Mapping[str, Any], verdict: Verdict) -> dict[str, Any]:
    """Return the report with what is to be said of the data set."""
    said = {"fit": verdict.fit, "reasons": list(verdict.reasons), "warnings": list(verdict.warnings)}
    return {**report, "verdict": said}


def shown_to(report: Mapping[str, Any], readable: Iterable[str]) -> tuple[dict[str, Any], int]:
    """Return the report without texts of documents that its reader may not read, and how many those were."""
    readable, withheld = frozenset(readable), 0
    samples = [each for each in report["samples"] if readable.issuperset(each["row"]["documents"])]
    withheld += len(report["samples"]) - len(samples)
    steps = []
    for step in report["steps"]:
        examples = [each for each in step["examples"] if readable.issuperset(each["documents"])]
        withheld += len(step["examples"]) - len(examples)
        steps.append({**step, "examples": examples})
    topics = [each for each in report["coverage"]["topics"] if readable.issuperset(each["documents"])]
    withheld += len(report["coverage"]["topics"]) - len(topics)
    coverage = {**report["coverage"], "topics": topics}
    return {**report, "samples": samples, "steps": steps, "coverage": coverage}, withheld


def documents_in(report: Mapping[str, Any]) -> set[str]:
    """Return the documents whose texts stand in a report."""
    samples = {document for each in report["samples"] for document in each["row"]["documents"]}
    examples = {one for step in report["steps"] for each in step["examples"] for one in each["documents"]}
    topics = {one for each in report["coverage"]["topics"] for one in each["documents"]}
    return samples | examples | topics


def _balance(kind: Kind, rows: Sequence[Row]) -> dict[str, int]:
    found = {"rows": len(rows), "raters": len({rater for row in rows for rater in row.raters})}
    found["with passages"] = sum(bool(row.passages) for row in rows)
    if kind is Kind.KTO:
        found |= {"good": sum(row.label for row in rows), "bad": sum(not row.label for row in rows)}
    if kind is Kind.GRPO:
        found |= {
            "answerable": sum(row.answerable for row in rows),
            "with answers": sum(bool(row.answers) for row in rows),
        }
        return found
    right = [row for row in rows if row.right]
    found["cite"] = sum(bool(cited_by(row.right, len(row.passages))) for row in right)
    found["say that the passages do not tell"] = sum(says_nothing(row.right) for row in right)
    return found


def _lengths(rows: Sequence[Row], lengths: Lengths) -> dict[str, Any]:
    measured = [lengths.measure(row) for row in rows]
    return {
        "unit": lengths.unit,
        "limit": lengths.limit,
        "whole": _distribution([each.whole for each in measured]),
        "answer": _distribution([each.answer for each in measured]),
    }


def _distribution(values: list[int]) -> dict[str, Any]:
    if not values:
        return {"p50": 0, "p95": 0, "max": 0, "width": 1, "counts": []}
    values.sort()
    middle, high, most = (values[min(len(values) - 1, int(share * len(values)))] for share in _PERCENTILES)
    width = most // BINS + 1
    counts = Counter(value // width for value in values)
    return {"p50": middle, "p95": high, "max": most, "width": width, "counts": [counts[at] for at in range(BINS)]}


def _topics(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return what rows are about: the title of the document that each cites, or else of the first in its prompt."""
    count, documents = Counter[str](), dict[str, set[str]]()
    for row in rows:
        places = cited_by(row.right, len(row.passages))
        passage = row.passages[places[0] if places else 0] if row.passages else None
        topic = (passage.title or "(untitled)") if passage else "(no passage)"
        count[topic] += 1
        documents.setdefault(topic, set()).update([passage.document_id] if passage and passage.document_id else ())
    return [
        {"topic": topic, "rows": number, "documents": sorted(documents[topic])}
        for topic, number in count.most_common(TOPICS)
    ]


def _counted(values: Iterable[str], most: int) -> dict[str, int]:
    return dict(Counter(values).most_common(most))
