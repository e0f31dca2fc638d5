"""What searches find: each set against its bar, beside its two legs, and with and without further steps."""

from collections.abc import Mapping

from bench.quality.indexed import How, Indexed
from bench.quality.results import Figure, Parts, compared, figure
from bench.quality.sets import ALL_EVIDENCE, KnownSet, questions_of, spread
from services.common.evaluation.measures import retrieval_scores
from services.common.evaluation.questions import QuestionSet

USUAL = "as usual"
ONE_STEP = "one step"
# What a person is shown.
SHOWN = 8
# Passages of one document merge or follow each other: so many give ten documents.
DEEP = 30
# Questions on which the legs are compared: a thousand tell them apart.
COMPARED = 1000
LEGS = {"dense alone": How(DEEP, tuning={"dense_share": 1.0}), "words alone": How(DEEP, tuning={"dense_share": 0.0})}


async def measure(known: KnownSet, indexed: Indexed) -> list[Figure]:
    """Return the set's figures, and how far they are from those of each leg, or of one step."""
    questions = questions_of(known)
    k = SHOWN if known.measure == ALL_EVIDENCE else 10
    usual = How(SHOWN if known.measure == ALL_EVIDENCE else DEEP)
    scores = await scored(indexed, questions, usual, k)
    figures: list[Figure] = []
    for measure, parts in scores.items():
        at_least = known.at_least if measure == known.measure else None
        figures += figure(USUAL, measure, parts, at_least=at_least)
    if known.measure == ALL_EVIDENCE:
        return figures + await _against(indexed, questions, usual, {ONE_STEP: How(SHOWN, steps=1)}, known.measure)
    return figures + await _against(indexed, spread(questions, COMPARED), usual, LEGS, known.measure)


async def scored(indexed: Indexed, questions: QuestionSet, how: How, k: int = 10) -> dict[str, Parts]:
    """Return every measure's part of each question."""
    found = await indexed.found([question.text for question in questions.questions], how)
    relevant = {question.id: question.documents for question in questions.questions}
    lists = dict(zip(relevant, found, strict=True))
    scores = retrieval_scores(relevant, lists, k)
    return {name: [(values[id_], 1.0) for id_ in relevant] for name, values in scores.items()}


async def _against(
    indexed: Indexed, questions: QuestionSet, usual: How, others: Mapping[str, How], measure: str
) -> list[Figure]:
    k = int(measure.partition("@")[2])
    ours = (await scored(indexed, questions, usual, k))[measure]
    figures: list[Figure] = []
    for name, how in others.items():
        theirs = (await scored(indexed, questions, how, k))[measure]
        figures += figure(name, measure, theirs)
        figures += compared(f"{USUAL} against {name}", measure, theirs, ours)
    return figures
