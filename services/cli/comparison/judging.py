"""Has a judge hold every way's answers against RAG's, each pair twice, the other way round the second time."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field

from services.cli.comparison.judge import LOSS, TIE, WIN, Judge, JudgeFailed, Pair
from services.cli.comparison.ways import RAG, WAYS
from services.cli.evaluation.outcomes import Outcome
from services.common.evaluation.answers import Part
from services.common.evaluation.questions import Question

MEASURE = "judge"
Answers = Mapping[str, Outcome]


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a way's answer did against RAG's: 1 for better, 0 for worse, 0.5 for a tie; None where the judge failed.

    `wavered` where it went by the place of an answer: better first in both orders, or second in both.
    """

    value: float | None
    wavered: bool = False


@dataclass(frozen=True, slots=True)
class Judged:
    """Each way's part of the measure by question, and how the judging went."""

    parts: Mapping[str, Mapping[str, Part]] = field(default_factory=dict)
    pairs: int = 0
    failed: int = 0
    wavered: int = 0
    is_whole: bool = True


def judged(
    judge: Judge, answers: Sequence[Answers], concurrency: int, advance: Callable[[], None] = lambda: None
) -> Judged:
    """Return what a judge says of questions that were answered in every way; an interrupt leaves what there is.

    A pair that the judge failed on says nothing, and is counted.
    """
    verdicts: dict[tuple[str, str], Verdict] = {}
    is_whole = False
    pool = ThreadPoolExecutor(concurrency)
    try:
        futures = {
            pool.submit(held, judge, each[way], each[RAG]): (way, each[RAG].question.id)
            for each in answers
            for way in WAYS
            if way != RAG
        }
        for future in as_completed(futures):
            verdicts[futures[future]] = future.result()
            advance()
        is_whole = True
    except KeyboardInterrupt:
        pass
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    failed = sum(each.value is None for each in verdicts.values())
    wavered = sum(each.wavered for each in verdicts.values())
    return Judged(_parts(verdicts), len(verdicts), failed, wavered, is_whole)


def held(judge: Judge, outcome: Outcome, rag: Outcome) -> Verdict:
    """Return what the judge says of an answer beside RAG's to the same question."""
    pair = _pair(rag.question, outcome, rag)
    if pair.first == pair.second:
        return Verdict(TIE)
    try:
        forth, back = judge.better(pair), judge.better(pair.swapped())
    except JudgeFailed:
        return Verdict(None)
    wavered = forth == back and forth != TIE
    value = TIE if wavered else _mean(forth, WIN + LOSS - back)
    return Verdict(value, wavered)


def _mean(forth: float, back: float) -> float:
    return (forth + back) / 2


def _pair(question: Question, outcome: Outcome, rag: Outcome) -> Pair:
    return Pair(question.text, question.answers, question.answerable, _text(outcome), _text(rag))


def _text(outcome: Outcome) -> str:
    """Return an answer without what would tell which way gave it."""
    return outcome.reply.words.strip() if outcome.reply else ""


def _parts(verdicts: Mapping[tuple[str, str], Verdict]) -> dict[str, dict[str, Part]]:
    """Return the parts of each way; against itself RAG ties."""
    parts: dict[str, dict[str, Part]] = {way: {} for way in WAYS}
    for (way, question_id), verdict in verdicts.items():
        if verdict.value is not None:
            parts[way][question_id] = (verdict.value, 1.0)
            parts[RAG][question_id] = (TIE, 1.0)
    return parts
