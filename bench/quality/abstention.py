"""Whether the assistant says so where the passages do not tell: half of the passages are held out.

The threshold is found on the questions about one half of the articles and judged on those about the other;
in both, the passages of half of the questions are not there.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from bench.quality.answering import Reply, gold_of, replies
from bench.quality.indexed import Indexed
from bench.quality.results import Figure, figure
from bench.quality.sets import Document, KnownSet, questions_of, spread
from services.common.evaluation.answers import Answered, abstention
from services.common.evaluation.questions import Question, QuestionSet
from services.common.grounding.evidence import calibrate
from services.gateway.settings import Settings

MEASURES = ("abstention F1", "abstention precision", "abstention recall")
# So that every question is refused, with how much evidence there is for it, and no model is asked.
ALWAYS = {"GATEWAY_ABSTAIN_BELOW": "1.0"}
ASKED = 120


def kept(documents: Sequence[Document]) -> list[Document]:
    """Return the passages that the platform is given."""
    return [document for document in documents if not _is_one_of_two(f"held out {document.id}")]


async def measure_evidence(known: KnownSet, indexed: Indexed) -> list[Figure]:
    """Calibrate on one half and judge on the other, by evidence alone: on a platform that runs with ALWAYS."""
    asked = _with_answerable(known, indexed)
    evidence = {
        question.id: reply.evidence
        for question, reply in zip(asked, await replies(indexed, asked), strict=True)
    }  # fmt: skip
    calibrating = [question for question in asked if not _is_judged(question)]
    judged = [question for question in asked if _is_judged(question)]
    missing = [not question.answerable for question in calibrating]
    threshold = calibrate([evidence[question.id] for question in calibrating], missing)
    shipped = float(Settings.model_fields["abstain_below"].default)
    figures = [Figure("calibrated", "threshold", threshold, count=len(calibrating), note="on the other half")]
    for name, below in (("calibrated", threshold), ("as shipped", shipped)):
        answered = [Answered("", abstained=evidence[question.id] < below) for question in judged]
        figures += _figures(f"{name}, before the model is asked", judged, answered)
    return [*figures, Figure("as shipped", "threshold", shipped)]


async def measure_answers(known: KnownSet, indexed: Indexed) -> list[Figure]:
    """Judge what the whole platform does as shipped, with the model's answers: on some of the judged half."""
    judged = [question for question in _with_answerable(known, indexed) if _is_judged(question)]
    some = spread(QuestionSet(known.name, tuple(judged)), ASKED).questions
    given = await replies(indexed, some)
    figures = _figures("as shipped, whole answers", some, [reply.answered for reply in given])
    return figures + figure("as shipped, whole answers", "said late", [_late(reply) for reply in given])


def _with_answerable(known: KnownSet, indexed: Indexed) -> list[Question]:
    there = set(indexed.names.values())
    asked = questions_of(known).questions
    return [replace(question, answerable=bool(there & set(question.documents))) for question in asked]


def _figures(configuration: str, questions: Sequence[Question], answered: Sequence[Answered]) -> list[Figure]:
    parts = [abstention(each, gold_of(question)) for each, question in zip(answered, questions, strict=True)]
    return [one for name in MEASURES for one in figure(configuration, name, [part[name] for part in parts])]


def _late(reply: Reply) -> tuple[float, float]:
    return float(reply.is_late), float(reply.abstained)


def _is_judged(question: Question) -> bool:
    # By article, so that no passage is on both sides: ids are SET-ARTICLE-PARAGRAPH.
    return any(_is_one_of_two(f"judged {document.rpartition('-')[0]}") for document in question.documents)


def _is_one_of_two(name: str) -> bool:
    return hashlib.sha256(name.encode()).digest()[0] % 2 == 0
