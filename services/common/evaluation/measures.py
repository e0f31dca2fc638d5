"""What a ranked list is worth, question by question: nDCG, recall, reciprocal rank, and whether all was found.

The first three are those of `ir-measures` (trec_eval's definitions, with linear gains), so that figures can be
laid beside published ones.
"""

from collections.abc import Mapping, Sequence

import ir_measures
from ir_measures import RR, R, nDCG

# Grades of documents by reference: 1 and more is relevant.
Grades = Mapping[str, int]
# A measure's value of each question.
PerQuestion = dict[str, float]


def names(k: int) -> tuple[str, ...]:
    """Return the names of the measures that `retrieval_scores` gives, the most telling first."""
    return (f"nDCG@{k}", f"recall@{k}", f"MRR@{k}", f"all@{k}")


def retrieval_scores(
    relevant: Mapping[str, Grades], found: Mapping[str, Sequence[str]], k: int = 10
) -> dict[str, PerQuestion]:
    """Return every measure's value for every question of `relevant`, 0 where nothing was found.

    `found` holds each question's documents, best first; of a document that comes twice the first place
    counts. `all@k` is 1 where every relevant document is among the first k.
    """
    ndcg, recall, reciprocal, everything = names(k)
    library = {nDCG @ k: ndcg, R @ k: recall, RR @ k: reciprocal}
    scores: dict[str, PerQuestion] = {name: dict.fromkeys(relevant, 0.0) for name in names(k)}
    graded = {question: dict(grades) for question, grades in relevant.items()}
    run = {question: _places(found.get(question, ())) for question in relevant}
    for value in ir_measures.iter_calc(list(library), graded, run):
        scores[library[value.measure]][value.query_id] = float(value.value)
    scores[everything] = {question: float(share == 1.0) for question, share in scores[recall].items()}
    return scores


def _places(found: Sequence[str]) -> dict[str, float]:
    """Return places as scores, so that no two are equal and the order is the list's own."""
    return {document: 1.0 / (1 + place) for place, document in enumerate(dict.fromkeys(found))}
