"""What a reranker learns from: questions with passages that answer them, and passages that do not."""

import hashlib
import random
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import orjson

from services.tune.domain.errors import InvalidTrainingSet, TooLittleData

MAX_QUERIES = 20_000
MAX_QUERY_CHARS = 8000
MAX_POSITIVES = 100
MAX_TEXT_CHARS = 100_000
MAX_ID_CHARS = 200

# Of one question: passages that answer it, and for each of them some that do not.
POSITIVES_LEARNT = 4
NEGATIVES_PER_POSITIVE = 5

# Shares of the questions; the rest is learnt from.
TUNED_SHARE, HELD_OUT_SHARE = 0.15, 0.25
# With fewer an interval says nothing.
FEWEST_TRAINED, FEWEST_TUNED, FEWEST_HELD_OUT = 10, 3, 5


@dataclass(frozen=True, slots=True)
class Positive:
    """What answers a question: a document, a text, or both."""

    document_id: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """A question, what answers it, and passages that are known not to.

    `wrong_chunks` are of answers found bad, or given and not cited; `people` rated those answers.
    """

    text: str
    positives: tuple[Positive, ...]
    wrong_chunks: frozenset[str] = frozenset()
    people: frozenset[str] = frozenset()

    def document_ids(self) -> frozenset[str]:
        """Return the documents that answer it."""
        return frozenset(each.document_id for each in self.positives if each.document_id)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A passage that a search found, as a reranker is given it, with its fused score."""

    chunk_id: str
    document_id: str
    text: str
    score: float


@dataclass(frozen=True, slots=True)
class Mined:
    """A question with what a search found for it, best first."""

    question: Question
    candidates: tuple[Candidate, ...]

    def is_right(self, candidate: Candidate) -> bool:
        """Return whether a candidate answers the question: its document does, or it is in a text that does."""
        if candidate.document_id in self.question.document_ids():
            return True
        return any(_holds(each.text, candidate.text) for each in self.question.positives if not each.document_id)

    def right_documents(self) -> frozenset[str]:
        """Return the documents that answer the question, as far as they are known."""
        found = {each.document_id for each in self.candidates if self.is_right(each)}
        return self.question.document_ids() | found


@dataclass(frozen=True, slots=True)
class Pair:
    """One example: whether a text answers a question."""

    query: str
    text: str
    answers: bool


@dataclass(frozen=True, slots=True)
class Split:
    """Questions to learn from, to choose the weight by, and to measure on; no question is in two of them."""

    trained: tuple[Mined, ...]
    tuned: tuple[Mined, ...]
    held_out: tuple[Mined, ...]


def check_questions(questions: Sequence[Question]) -> None:
    """Check a training set.

    Raises:
        InvalidTrainingSet: there are too few or too many questions, one is there twice, or a text is empty or too long.
    """
    if not 0 < len(questions) <= MAX_QUERIES:
        raise InvalidTrainingSet("a training set has 1 to 20,000 questions", questions=len(questions))
    seen: set[str] = set()
    for number, question in enumerate(questions):
        _check_question(question, number)
        if (name := normalised(question.text)) in seen:
            raise InvalidTrainingSet("a question is there twice", question=number)
        seen.add(name)


def _check_question(question: Question, number: int) -> None:
    if not question.text.strip() or len(question.text) > MAX_QUERY_CHARS:
        raise InvalidTrainingSet("a question has 1 to 8,000 characters", question=number)
    if not 0 < len(question.positives) <= MAX_POSITIVES:
        raise InvalidTrainingSet("a question has 1 to 100 positives", question=number)
    for each in question.positives:
        if not (each.document_id or each.text.strip()):
            raise InvalidTrainingSet("a positive is empty", question=number)
        if len(each.text) > MAX_TEXT_CHARS or len(each.document_id) > MAX_ID_CHARS:
            raise InvalidTrainingSet("a positive is too long", question=number)
    if any("\0" in text for text in _texts(question)):
        raise InvalidTrainingSet("a text has a character that cannot be kept", question=number)


def _texts(question: Question) -> Iterable[str]:
    yield question.text
    for each in question.positives:
        yield from (each.document_id, each.text)


def split(mined: Iterable[Mined], seed: int) -> Split:
    """Return the parts, the same for the same questions and seed in whatever order they come.

    Raises:
        TooLittleData: a part is too small to learn from or to measure on.
    """
    # What can be neither learnt nor measured: nothing right is known, or nothing was found.
    useful = [each for each in mined if each.candidates and each.right_documents()]
    useful.sort(key=lambda each: (_place(each.question.text, seed), each.question.text))
    tuned, held_out = round(len(useful) * TUNED_SHARE), round(len(useful) * HELD_OUT_SHARE)
    parts = Split(tuple(useful[tuned + held_out :]), tuple(useful[:tuned]), tuple(useful[tuned : tuned + held_out]))
    if len(parts.trained) < FEWEST_TRAINED or tuned < FEWEST_TUNED or held_out < FEWEST_HELD_OUT:
        raise TooLittleData("too few questions have an answer that is found", questions=len(useful))
    return parts


def pairs_of(mined: Sequence[Mined], seed: int) -> list[Pair]:
    """Return examples: what answers each question, and for each of those the hardest passages that do not.

    Raises:
        TooLittleData: nothing is there that answers, or nothing that does not.
    """
    source = random.Random(seed)  # sampling, no secret  # noqa: S311  # nosec B311
    found = [pair for each in mined for pair in _pairs(each, source)]
    if {pair.answers for pair in found} != {True, False}:
        raise TooLittleData("no passage answers a question, or every one does", pairs=len(found))
    return found


def _pairs(mined: Mined, source: random.Random) -> list[Pair]:
    query = mined.question.text
    right = [each.text for each in mined.candidates if mined.is_right(each)]
    met = {each.document_id for each in mined.candidates}
    right += [each.text for each in mined.question.positives if each.text and each.document_id not in met]
    # Of chunks given in an answer we know more than that a search found them.
    wrong = [each for each in mined.candidates if not mined.is_right(each)]
    known = [each.text for each in wrong if each.chunk_id in mined.question.wrong_chunks]
    others = [each.text for each in wrong if each.chunk_id not in mined.question.wrong_chunks]
    right = list(dict.fromkeys(right))[:POSITIVES_LEARNT]
    wanted = NEGATIVES_PER_POSITIVE * len(right)
    negatives = known[:wanted]
    negatives += source.sample(others, min(len(others), wanted - len(negatives)))
    return [Pair(query, text, answers=True) for text in right] + [
        Pair(query, text, answers=False) for text in negatives
    ]


def digest_of(mined: Iterable[Mined]) -> str:
    """Return the SHA-256, hex, of what is learnt from and measured on."""
    lines = sorted(
        orjson.dumps(
            [
                each.question.text,
                sorted(each.right_documents()),
                [[found.chunk_id, found.text, each.is_right(found)] for found in each.candidates],
            ]
        )
        for each in mined
    )
    return hashlib.sha256(b"\n".join(lines)).hexdigest()


def normalised(text: str) -> str:
    """Return a question as it is compared: no matter its case and spaces."""
    return " ".join(text.casefold().split())


def merged(questions: Iterable[Question]) -> list[Question]:
    """Return each question once, with all that is known of it; what somebody found right is not wrong."""
    by_text: dict[str, list[Question]] = {}
    for question in questions:
        by_text.setdefault(normalised(question.text), []).append(question)
    return [_joined(same) for same in by_text.values()]


def _joined(same: Sequence[Question]) -> Question:
    positives = tuple(dict.fromkeys(each for question in same for each in question.positives))
    wrong: Collection[str] = frozenset().union(*(question.wrong_chunks for question in same))
    people = frozenset[str]().union(*(question.people for question in same))
    return Question(same[0].text, positives, frozenset(wrong), people)


def _holds(whole: str, part: str) -> bool:
    """Return whether two texts are the same, or one has the other in it."""
    whole, part = normalised(whole), normalised(part)
    return bool(whole and part) and (part in whole or whole in part)


def _place(text: str, seed: int) -> str:
    return hashlib.sha256(f"{seed}/{normalised(text)}".encode()).hexdigest()
