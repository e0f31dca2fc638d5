"""Sets that are kept with a tenant, measurements on them, and what counts as a fall."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from services.common.errors import FailedPrecondition, InvalidArgument, NotFound, ResourceExhausted
from services.common.evaluation.bootstrap import Estimate
from services.common.evaluation.measures import PerQuestion
from services.common.evaluation.questions import Question, QuestionSet, parse_set
from services.common.evaluation.results import differences, parts_of
from services.common.evaluation.rows import InvalidQuestionSet, decoded
from services.common.identity import Identity

MAX_SETS = 100
MAX_QUESTIONS = 2_000
MAX_CONTENT_BYTES = 4 * 1024 * 1024
MAX_EVERY_HOURS = 8_760
# What a schedule may read is what its maker could read then: it does not go on for ever.
SCHEDULE = timedelta(days=90)
KEPT_EVALUATIONS = 200
# Measured like a search of people: their first ten documents.
K = 10
PASSAGES = 30
TELLING = f"nDCG@{K}"
# A fall is looked for against several earlier evaluations, so less must be left to chance than in one comparison.
FALL_P_VALUE = 0.01
LEAST_FALL = 0.01
COMPARED = 30
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_FILE = "content"

# Each measure's value of each question.
Scores = Mapping[str, PerQuestion]


class InvalidSetName(InvalidArgument):
    """Not 1 to 64 letters, digits, '.', '_' and '-'."""

    reason = "INVALID_SET_NAME"


class SetNotFound(NotFound):
    """The tenant has no set of this name."""

    reason = "SET_NOT_FOUND"


class TooManySets(ResourceExhausted):
    """The tenant keeps as many sets as it may."""

    reason = "TOO_MANY_SETS"


class InvalidSchedule(InvalidArgument):
    """Not 0 to 8,760 hours."""

    reason = "INVALID_SCHEDULE"


class NothingToSearch(FailedPrecondition):
    """No question of the set names a document that answers it: there are answers alone to be measured."""

    reason = "NOTHING_TO_SEARCH"


class EvaluationNotFound(NotFound):
    """The tenant has no such evaluation."""

    reason = "EVALUATION_NOT_FOUND"


class EvaluationState(StrEnum):
    """How far an evaluation is."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class KeptSet:
    """A set without its questions; the times and `scheduled_by` of a schedule are empty while it has none."""

    name: str
    questions: int
    digest: str
    subject: str
    put_at: datetime
    every_hours: int = 0
    next_at: datetime | None = None
    ends_at: datetime | None = None
    scheduled_by: str = ""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One measurement; `fall` is below 0 where it fell, and else 0."""

    tenant_id: str
    evaluation_id: str
    set_name: str
    set_digest: str
    state: EvaluationState
    subject: str
    scheduled: bool
    questions: int
    created_at: datetime
    searched: int = 0
    figures: Mapping[str, Estimate] = field(default_factory=dict)
    fall: float = 0.0
    failure: str = ""
    started_at: datetime | None = None
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Claimed:
    """An evaluation that one process works on, as whom it searches, and the questions."""

    evaluation: Evaluation
    identity: Identity
    content: bytes


def checked_name(name: str) -> str:
    """Return a set's name.

    Raises:
        InvalidSetName: it cannot be one.
    """
    if not _NAME.fullmatch(name):
        raise InvalidSetName("a set's name has 1 to 64 letters, digits, '.', '_' and '-'")
    return name


def known_name(name: str) -> str:
    """Return a name that a set may have.

    Raises:
        SetNotFound: no set can be called so.
    """
    if not _NAME.fullmatch(name):
        raise SetNotFound("there is no set of this name")
    return name


def known_id(evaluation_id: str) -> str:
    """Return an id that an evaluation may have.

    Raises:
        EvaluationNotFound: none can have it.
    """
    if not evaluation_id.isalnum():
        raise EvaluationNotFound("there is no such evaluation")
    return evaluation_id


def checked_hours(every_hours: int) -> int:
    """Return how often a set is evaluated, 0 for never.

    Raises:
        InvalidSchedule: it is neither.
    """
    if not 0 <= every_hours <= MAX_EVERY_HOURS:
        raise InvalidSchedule(f"a set is evaluated every 1 to {MAX_EVERY_HOURS} hours, or 0 for never")
    return every_hours


def questions_of(name: str, content: bytes) -> QuestionSet:
    """Return the questions of a set as it is kept.

    Raises:
        InvalidQuestionSet: it cannot be measured on, and why.
    """
    if len(content) > MAX_CONTENT_BYTES:
        raise InvalidQuestionSet(f"it is larger than {MAX_CONTENT_BYTES // 1024 // 1024} MiB", _FILE)
    found = parse_set(name, _FILE, decoded(_FILE, content.splitlines(keepends=True)))
    if len(found.questions) > MAX_QUESTIONS:
        raise InvalidQuestionSet(f"it has more than {MAX_QUESTIONS} questions", _FILE)
    for number, question in enumerate(found.questions, 1):
        if not (question.documents or question.answers) and question.answerable:
            raise InvalidQuestionSet(
                "a kept question names a document that answers it or an answer, or is not answerable", _FILE, number
            )
    return found


def searched_in(found: QuestionSet) -> tuple[Question, ...]:
    """Return those of a set's questions that searches can be measured on.

    Raises:
        NothingToSearch: none names a document that answers it.
    """
    judged = tuple(question for question in found.questions if question.documents and question.answerable)
    if not judged:
        raise NothingToSearch("no question of the set names a document that answers it")
    return judged


def digest_of(tenant_id: str, content: bytes) -> str:
    """Return what tells one set's questions from another's of the tenant, and nothing of another tenant's."""
    return hashlib.sha256(tenant_id.encode() + b"\0" + content).hexdigest()


def fall_of(scores: Scores, earlier: Sequence[Scores]) -> float:
    """Return how far nDCG@10 is, beyond chance, below the evaluation before or the best of `earlier`, newest first.

    0 where it is not. What of a fall is within a hundredth is no fall.
    """
    if not earlier:
        return 0.0
    best = max(earlier, key=_mean)
    falls = [_difference(each, scores) for each in (earlier[0], best)]
    return min(falls)


def _difference(before: Scores, after: Scores) -> float:
    pair = [parts_of({TELLING: dict(each[TELLING])}) for each in (before, after)]
    found = differences(*pair).get(TELLING)
    if found is None or found.value > -LEAST_FALL or found.p_value >= FALL_P_VALUE:
        return 0.0
    return found.value


def _mean(scores: Scores) -> float:
    values = scores[TELLING].values()
    return sum(values) / len(values)
