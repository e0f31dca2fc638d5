"""What sources and age do to a passage's score, where a tenant says so."""

from collections.abc import Sequence
from dataclasses import replace

from services.retrieve.domain.hits import Hit
from services.retrieve.domain.tuning import Tuning

_DAY_MS = 24 * 3600 * 1000


def weighted(hits: Sequence[Hit], tuning: Tuning, now_ms: int) -> list[Hit]:
    """Return the hits with their weights, and their scores multiplied by them, best first."""
    if not tuning.weighs:
        return list(hits)
    weighed = [replace(hit, weight=_weight_of(hit, tuning, now_ms)) for hit in hits]
    return sorted((replace(hit, score=hit.score * hit.weight) for hit in weighed), key=lambda hit: -hit.score)


def _weight_of(hit: Hit, tuning: Tuning, now_ms: int) -> float:
    """Return what a source counts, halved with every half-life of the hit's age."""
    by_source = tuning.source_weights.get(hit.source_id, tuning.source_weights.get(hit.source_name, 1.0))
    if not tuning.recency_half_life_days:
        return by_source
    age_days = max(0, now_ms - hit.changed_at_ms) / _DAY_MS
    return by_source * float(0.5 ** (age_days / tuning.recency_half_life_days))
