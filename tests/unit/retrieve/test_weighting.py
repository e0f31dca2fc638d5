"""Sources and age weigh where a tenant says so, and tunings have limits."""

import math

import pytest

from services.retrieve.domain.tuning import InvalidTuning, Tuning
from services.retrieve.domain.weighting import weighted
from tests.unit.retrieve.rows import hit

NOW = 1_700_000_000_000
DAY = 24 * 3600 * 1000


def order(tuning, *hits):
    return [(one.document_id, round(one.score, 4)) for one in weighted(hits, tuning, NOW)]


def test_without_weights_nothing_changes():
    hits = [hit("b", 0, 0.2), hit("a", 0, 0.9)]
    assert weighted(hits, Tuning(), NOW) == hits


def test_a_source_counts_what_it_was_given_by_id_or_name():
    wiki, drive = hit("wiki", 0, 0.9), hit("drive", 0, 0.5, source_id="src-2", source_name="Drive")
    assert order(Tuning({"Drive": 2.0}), wiki, drive) == [("drive", 1.0), ("wiki", 0.9)]
    assert order(Tuning({"src-1": 0.1, "Wiki": 100.0}), wiki, drive) == [("drive", 0.5), ("wiki", 0.09)]


def test_a_score_halves_with_every_half_life():
    tuning = Tuning(recency_half_life_days=10)
    new, old = hit("new", 0, 0.3, changed_at_ms=NOW), hit("old", 0, 1.0, changed_at_ms=NOW - 20 * DAY)
    assert order(tuning, old, new) == [("new", 0.3), ("old", 0.25)]
    assert order(tuning, hit("later", 0, 0.4, changed_at_ms=NOW + 99 * DAY)) == [("later", 0.4)]
    assert order(tuning, hit("ancient", 0, 1.0, changed_at_ms=-(2**60))) == [("ancient", 0.0)]


@pytest.mark.parametrize(
    "facts",
    [
        {"source_weights": {"": 1.0}},
        {"source_weights": {"a": 0.0}},
        {"source_weights": {"a": math.inf}},
        {"source_weights": {"a": math.nan}},
        {"source_weights": {"a\0b": 1.0}},
        {"source_weights": {str(number): 1.0 for number in range(101)}},
        {"recency_half_life_days": -1.0},
        {"recency_half_life_days": math.nan},
        {"dense_share": 1.01},
        {"dense_share": math.nan},
        {"max_steps": 0},
        {"max_steps": 5},
        {"rerank_depth": 101},
        {"rerank_depth": -1},
        {"reranker": "../../etc/passwd"},
        {"reranker": "A" * 64},
    ],
)
def test_a_tuning_beyond_its_limits_is_refused(facts):
    with pytest.raises(InvalidTuning):
        Tuning(**facts)


def test_a_tuning_at_its_limits_is_taken():
    assert Tuning({"a": 0.01, "b": 100.0}, 100_000.0, 1.0, 4, "0" * 64, 100).weighs
    assert not Tuning(dense_share=0.0).weighs
