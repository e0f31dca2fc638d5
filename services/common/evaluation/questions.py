"""Sets of questions from files: BEIR folders, CSV and JSONL."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from services.common.evaluation.rows import (
    MAX_CORPUS_BYTES,
    InvalidQuestionSet,
    Row,
    answer_of,
    csv_rows,
    jsonl_rows,
    judgements,
    lines_of,
    list_of,
    objects,
    once,
    plain_of,
    text_of,
    truth_of,
)

MAX_QUESTIONS = 100_000
MAX_QUESTION_CHARS = 8_000
DROPPED = "drop"


class Duplicates(StrEnum):
    """What becomes of a question that is asked twice, under two ids."""

    # Published sets have some: keeping them gives the published figures.
    REFUSE = "refuse"
    KEEP = "keep"


@dataclass(frozen=True, slots=True)
class Question:
    """A question, and what is known of it. `documents` grades the relevant ones by reference, 1 and more."""

    id: str
    text: str
    answers: tuple[str, ...] = ()
    documents: Mapping[str, int] = field(default_factory=dict)
    answerable: bool = True
    # ISO 639-1; "" where nobody says.
    language: str = ""
    # Whether a person has looked at it.
    reviewed: bool = True


@dataclass(frozen=True, slots=True)
class QuestionSet:
    """Questions under a name, each id once."""

    name: str
    questions: tuple[Question, ...]

    def limited(self, count: int) -> "QuestionSet":
        """Return the first `count` questions; 0 means all."""
        return QuestionSet(self.name, self.questions[:count] if count else self.questions)


def read_set(path: Path, split: str = "test", duplicates: Duplicates = Duplicates.REFUSE) -> QuestionSet:
    """Return the set in a BEIR folder (queries.jsonl, qrels/SPLIT.tsv), or in a CSV or JSONL file; each may be .gz.

    Raises:
        InvalidQuestionSet: it cannot be used, and why.
        OSError: it cannot be read.
    """
    if path.is_dir():
        return _whole(path.name, _beir(path, split), duplicates, path.name)
    stem, _, format_ = path.name.removesuffix(".gz").rpartition(".")
    return parse_set(
        stem, path.name, lines_of(path), "csv" if format_.lower() in {"csv", "tsv"} else format_, duplicates
    )


def parse_set(
    name: str, file: str, lines: Iterable[str], format_: str = "jsonl", duplicates: Duplicates = Duplicates.REFUSE
) -> QuestionSet:
    """Return the set in a file's `lines`, in format "csv" or "jsonl".

    Raises:
        InvalidQuestionSet: it cannot be used, and why.
    """
    rows: dict[str, Callable[[str, Iterable[str]], Iterator[Row]]] = {
        "csv": csv_rows,
        "jsonl": jsonl_rows,
        "json": jsonl_rows,
    }
    if format_.lower() not in rows:
        raise InvalidQuestionSet(
            "a set is a BEIR folder, or a file named .csv, .tsv, .jsonl or one of them with .gz", file
        )
    found = (_question(row) for row in rows[format_.lower()](file, lines))
    return _whole(name, [each for each in found if each is not None], duplicates, file)


def jsonl_of(question: Question, note: str = "") -> bytes:
    """Return a question as one line of JSONL, as `parse_set` reads it; a note is for people."""
    documents: Any = dict(question.documents)
    if set(documents.values()) <= {1}:
        documents = list(documents)
    fields = {"id": question.id, "question": question.text, "answers": list(question.answers), "documents": documents}
    fields |= {} if question.answerable else {"answerable": False}
    fields |= {"language": question.language} if question.language else {}
    fields |= {} if question.reviewed else {"review": "todo"}
    fields |= {"note": note} if note else {}
    return json.dumps(fields, ensure_ascii=False).encode() + b"\n"


@dataclass(frozen=True, slots=True)
class _Placed:
    """A question, and where it stands."""

    question: Question
    row: Row


def _whole(name: str, placed: Sequence[_Placed], duplicates: Duplicates, file: str) -> QuestionSet:
    """Return the set of all questions, after what only the whole can show."""
    if not placed:
        raise InvalidQuestionSet("there is no question in it", file)
    if len(placed) > MAX_QUESTIONS:
        raise InvalidQuestionSet(f"it has more than {MAX_QUESTIONS} questions", file)
    ids: dict[str, Row] = {}
    texts: dict[str, Row] = {}
    for each in placed:
        once(ids, each.question.id, each.row, "id")
        if duplicates is Duplicates.REFUSE:
            once(texts, " ".join(each.question.text.split()).casefold(), each.row, "question")
    return QuestionSet(name, tuple(each.question for each in placed))


def _question(row: Row) -> _Placed | None:
    """Return the question of a row of CSV or JSONL; None for one that its reviewer dropped."""
    fields = row.fields
    if text_of(row, "review") == DROPPED:
        return None
    question = Question(
        id=text_of(row, "id") or str(row.line),
        text=_asked(row, text_of(row, "question")),
        answers=tuple(answer_of(row, each) for each in list_of(row, "answers")),
        documents=_grades(row),
        answerable=truth_of(row, fields.get("answerable", True)),
        language=text_of(row, "language"),
        reviewed=text_of(row, "review") != "todo",
    )
    return _Placed(question, row)


def _asked(row: Row, text: str) -> str:
    if not text:
        raise row.wrong("the question is empty")
    if len(text) > MAX_QUESTION_CHARS:
        raise row.wrong(f"the question is longer than {MAX_QUESTION_CHARS} characters")
    return text


def _grades(row: Row) -> dict[str, int]:
    """Return the documents with their grades: a list counts 1 each, an object says."""
    value = row.fields.get("documents")
    if not isinstance(value, dict):
        value = dict.fromkeys((answer_of(row, each) for each in list_of(row, "documents")), 1)
    if not all(isinstance(grade, int) and not isinstance(grade, bool) for grade in value.values()):
        raise row.wrong("a document's grade is a whole number")
    return {plain_of(row, str(reference)): grade for reference, grade in value.items() if grade > 0}


def _beir(folder: Path, split: str) -> list[_Placed]:
    """Return the questions that `split` judges, in the order of queries.jsonl."""
    queries = _existing(folder, "queries.jsonl")
    qrels = _existing(folder, f"qrels/{split}.tsv")
    asked = {each.question.id: each for each in _queries(queries)}
    known = _corpus_ids(folder)
    judged: dict[str, dict[str, int]] = {}
    for row in judgements(qrels):
        question, document, grade = row.fields["question"], row.fields["document"], row.fields["grade"]
        if question not in asked:
            raise row.wrong(f"there is no question {question[:100]!r} in {queries.name}", id=question[:100])
        if known is not None and document not in known:
            raise row.wrong(f"there is no document {document[:100]!r} in the corpus", id=document[:100])
        if grade > 0:
            judged.setdefault(question, {})[document] = grade
    return [
        _Placed(replace(each.question, documents=judged[question]), each.row)
        for question, each in asked.items()
        if question in judged
    ]


def _existing(folder: Path, name: str) -> Path:
    for each in (folder / name, folder / f"{name}.gz"):
        if each.is_file():
            return each
    raise InvalidQuestionSet(f"there is no {name}, as BEIR's folders have it", folder.name)


def _queries(path: Path) -> Iterator[_Placed]:
    seen: dict[str, Row] = {}
    for row in objects(path.name, lines_of(path)):
        identifier = text_of(row, "_id")
        if not identifier or "text" not in row.fields:
            raise row.wrong("a query has the fields _id and text")
        once(seen, identifier, row, "id")
        metadata = row.fields.get("metadata")
        more = Row(row.file, row.line, metadata if isinstance(metadata, dict) else {})
        answers = tuple(answer_of(row, each) for each in list_of(more, "answers"))
        answerable = truth_of(more, more.fields.get("answerable", True))
        yield _Placed(Question(identifier, _asked(row, text_of(row, "text")), answers, {}, answerable), row)


def _corpus_ids(folder: Path) -> set[str] | None:
    """Return the ids of the corpus, if the folder has one."""
    try:
        path = _existing(folder, "corpus.jsonl")
    except InvalidQuestionSet:
        return None
    seen: dict[str, Row] = {}
    for row in objects(path.name, lines_of(path, MAX_CORPUS_BYTES)):
        identifier = text_of(row, "_id")
        if not identifier:
            raise row.wrong("a document has the field _id")
        once(seen, identifier, Row(row.file, row.line, {}), "id")
    return set(seen)
