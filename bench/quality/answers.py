"""What answers are worth, with retrieval and without, and whether their citations are right."""

from collections.abc import Sequence

from bench.quality.answering import Reply, gold_of, replies
from bench.quality.indexed import Indexed
from bench.quality.results import Figure, Parts, compared, figure
from bench.quality.sets import KnownSet, questions_of, spread
from services.common.evaluation.answers import contains, scores
from services.common.evaluation.questions import Question

QUESTIONS = 400
BASE = "base"
RAG = "RAG"
SHOWN = ("exact match", "F1", "contains")
CITATIONS_RIGHT_AT_LEAST = 0.95


async def measure(known: KnownSet, indexed: Indexed) -> list[Figure]:
    """Ask both assistants the same questions: the default one, and one that only knows what the model knows."""
    questions = spread(questions_of(known), QUESTIONS).questions
    await indexed.platform.put_assistant(BASE, without_retrieval=True)
    with_, without = await replies(indexed, questions), await replies(indexed, questions, BASE)
    figures: list[Figure] = []
    for measure in SHOWN:
        base, rag = _parts(without, questions, measure), _parts(with_, questions, measure)
        figures += figure(BASE, measure, base)
        figures += figure(RAG, measure, rag)
        figures += compared(f"{RAG} against {BASE}", measure, base, rag)
    return figures + _of_citations(with_, questions)


def _parts(given: Sequence[Reply], questions: Sequence[Question], measure: str) -> Parts:
    pairs = zip(given, questions, strict=True)
    return [scores(reply.answered, gold_of(question))[measure] for reply, question in pairs]


def _of_citations(given: Sequence[Reply], questions: Sequence[Question]) -> list[Figure]:
    """Return how many of the citations sent are right.

    Of each question one passage is known to tell; another that holds the answer in the words cited is as good.
    """
    right = [_right(reply, question) for reply, question in zip(given, questions, strict=True)]
    note = "of the known passage, or with a right answer in the words cited"
    return [
        *figure(RAG, "citation precision", right, at_least=CITATIONS_RIGHT_AT_LEAST, note=note),
        *figure(RAG, "citations of the known passage", _parts(given, questions, "citation precision")),
        *figure(RAG, "citation recall", _parts(given, questions, "citation recall")),
        *figure(RAG, "supported sentences", _parts(given, questions, "groundedness")),
        *figure(RAG, "answers with a citation", [(float(bool(reply.spans)), 1.0) for reply in given]),
        *figure(RAG, "abstained", [(float(reply.abstained), 1.0) for reply in given], note="all can be answered"),
    ]


def _right(reply: Reply, question: Question) -> tuple[float, float]:
    right = sum(
        span.document in question.documents or any(contains(span.text, each, "en") for each in question.answers)
        for span in reply.spans
    )
    return float(right), float(len(reply.spans))
