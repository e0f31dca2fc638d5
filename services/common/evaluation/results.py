"""What an evaluation comes to: every measure's figure with its interval, and how two configurations differ."""

from collections.abc import Mapping

from services.common.evaluation.answers import Part
from services.common.evaluation.bootstrap import Difference, Estimate, difference, estimate
from services.common.evaluation.measures import PerQuestion

# Each measure's part of each question, measures in the order in which they are shown.
Parts = Mapping[str, Mapping[str, Part]]


def parts_of(scores: Mapping[str, PerQuestion]) -> dict[str, dict[str, Part]]:
    """Return plain scores as parts: every question counts 1."""
    return {measure: {key: (value, 1.0) for key, value in values.items()} for measure, values in scores.items()}


def by_measure(parts: Mapping[str, Mapping[str, Part]]) -> dict[str, dict[str, Part]]:
    """Return each question's measures as each measure's questions."""
    measures = dict.fromkeys(measure for each in parts.values() for measure in each)
    return {measure: {key: each[measure] for key, each in parts.items()} for measure in measures}


def figures(parts: Parts) -> dict[str, Estimate]:
    """Return each measure's figure; a measure that nothing is known of is left out."""
    found = {measure: estimate(*_columns(each, list(each))) for measure, each in parts.items()}
    return {measure: figure for measure, figure in found.items() if figure}


def differences(first: Parts, second: Parts) -> dict[str, Difference]:
    """Return how much higher the second is in each measure that both have, on the questions that both have."""
    found = {}
    for measure in first:
        shared = [key for key in first[measure] if key in second.get(measure, {})]
        found[measure] = (
            difference(_columns(first[measure], shared), _columns(second[measure], shared)) if shared else None
        )
    return {measure: each for measure, each in found.items() if each}


def _columns(parts: Mapping[str, Part], keys: list[str]) -> tuple[list[float], list[float]]:
    return [parts[key][0] for key in keys], [parts[key][1] for key in keys]
