"""Files of questions as rows: what cannot be read is named with its file and line."""

import codecs
import csv
import gzip
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.common.errors import InvalidArgument

MAX_SET_BYTES = 64 * 1024 * 1024
MAX_CORPUS_BYTES = 8 * 1024 * 1024 * 1024
MAX_ANSWER_CHARS = 10_000
# "review" is what `tandem eval make` writes for a person to change.
COLUMNS = ("id", "question", "answers", "documents", "answerable", "language", "review", "note")
_DELIMITERS = ",;\t"
_TRUTHS = {"true": True, "yes": True, "1": True, "": True, "false": False, "no": False, "0": False}
_QRELS_COLUMNS = 3


class InvalidQuestionSet(InvalidArgument):
    """A set of questions that cannot be used; `file` and `line` say where."""

    reason = "INVALID_QUESTION_SET"

    def __init__(self, message: str, file: str, line: int = 0, **facts: object) -> None:
        where = f"{file}, line {line}" if line else file
        super().__init__(f"{where}: {message}", file=file, line=line, **facts)


@dataclass(frozen=True, slots=True)
class Row:
    """One question's fields as they stand in a file."""

    file: str
    line: int
    fields: Mapping[str, Any]

    def wrong(self, message: str, **facts: object) -> InvalidQuestionSet:
        return InvalidQuestionSet(message, self.file, self.line, **facts)


def jsonl_rows(file: str, lines: Iterable[str]) -> Iterator[Row]:
    for row in objects(file, lines):
        _known_columns(row, row.fields)
        yield row


def objects(file: str, lines: Iterable[str]) -> Iterator[Row]:
    """Yield the object in each line that is not empty."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        row = Row(file, number, {})
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise row.wrong("this is no JSON object on one line") from error
        if not isinstance(value, dict):
            raise row.wrong("this is no JSON object on one line")
        yield Row(file, number, value)


def csv_rows(file: str, lines: Iterable[str]) -> Iterator[Row]:
    """Yield the rows under a header; several answers or documents are parted by "|", or are a JSON list."""
    lines = iter(lines)
    header = next(lines, "")
    delimiter = max(_DELIMITERS, key=header.count)
    names = [name.strip().lower() for name in next(csv.reader([header], delimiter=delimiter), [])]
    _known_columns(Row(file, 1, {}), names)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    try:
        for values in reader:
            row = Row(file, reader.line_num + 1, {})
            if len(values) > len(names) or (values and len(values) < names.index("question") + 1):
                raise row.wrong(f"it has {len(values)} columns where the header has {len(names)}")
            if values:
                yield Row(file, row.line, _split(row, dict(zip(names, values, strict=False))))
    except csv.Error as error:
        raise InvalidQuestionSet("this is no CSV", file, reader.line_num + 1) from error


def judgements(path: Path) -> Iterator[Row]:
    """Yield question, document and grade of each line under the header."""
    for number, line in enumerate(lines_of(path), 1):
        row, values = Row(path.name, number, {}), line.rstrip("\r\n").split("\t")
        if not line.strip():
            continue
        if len(values) != _QRELS_COLUMNS:
            raise row.wrong(f"it has {len(values)} columns, not query-id, corpus-id and score")
        if number == 1 and not values[2].lstrip("-").isdigit():
            continue
        if not values[2].strip().lstrip("-").isdecimal():
            raise row.wrong("the score is a whole number")
        yield Row(path.name, number, {"question": values[0], "document": values[1], "grade": int(values[2])})


def once(seen: dict[str, Row], value: str, row: Row, what: str) -> None:
    first = seen.setdefault(value, row)
    if first is not row:
        raise row.wrong(f"the same {what} is in line {first.line}", first_line=first.line)


def text_of(row: Row, column: str) -> str:
    value = row.fields.get(column)
    if value is None:
        return ""
    if not isinstance(value, str | int) or isinstance(value, bool):
        raise row.wrong(f"{column} is a text")
    return plain_of(row, str(value))


def plain_of(row: Row, text: str) -> str:
    """Return a text without space at its ends.

    Raises:
        InvalidQuestionSet: it has what JSON can write and no text has: NUL, or half a character.
    """
    if "\0" in text or any("\ud800" <= char <= "\udfff" for char in text):
        raise row.wrong("it has characters that no text has")
    return text.strip()


def answer_of(row: Row, value: object) -> str:
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        raise row.wrong("an answer is a text")
    text = plain_of(row, str(value))
    if not text:
        raise row.wrong("an answer is empty")
    if len(text) > MAX_ANSWER_CHARS:
        raise row.wrong(f"an answer is longer than {MAX_ANSWER_CHARS} characters")
    return text


def truth_of(row: Row, value: object) -> bool:
    if isinstance(value, bool):
        return value
    known = _TRUTHS.get(str(value).strip().lower())
    if known is None:
        raise row.wrong("answerable is true or false")
    return known


def list_of(row: Row, column: str) -> list[Any]:
    value = row.fields.get(column)
    if value is None or value == "":
        return []
    if not isinstance(value, list):
        raise row.wrong(f"{column} is a list")
    return value


def lines_of(path: Path, limit: int = MAX_SET_BYTES) -> Iterator[str]:
    """Yield a file's lines, unpacked, as long as it is UTF-8 and not too large."""
    with path.open("rb") as raw:
        source = gzip.GzipFile(fileobj=raw) if path.suffix == ".gz" else raw
        yield from decoded(path.name, _limited(path.name, source, limit))


def decoded(file: str, lines: Iterable[bytes]) -> Iterator[str]:
    """Yield lines of UTF-8 as text, without a byte order mark.

    Raises:
        InvalidQuestionSet: a line is not UTF-8.
    """
    for number, line in enumerate(lines, 1):
        try:
            yield line.removeprefix(codecs.BOM_UTF8 if number == 1 else b"").decode()
        except UnicodeDecodeError as error:
            raise InvalidQuestionSet("it is not UTF-8", file, number) from error


def _split(row: Row, fields: dict[str, Any]) -> dict[str, Any]:
    for column in ("answers", "documents"):
        value = str(fields.get(column, "")).strip()
        if value.startswith(("[", "{")):
            try:
                fields[column] = json.loads(value)
            except (ValueError, RecursionError) as error:
                raise row.wrong(f"{column} is no JSON list") from error
        else:
            fields[column] = [each for each in value.split("|") if each.strip()]
    return fields


def _known_columns(row: Row, names: Iterable[str]) -> None:
    names = list(names)
    # The name itself is not said: where a file is broken, it may be text of people.
    for place, name in enumerate(names, 1):
        if name not in COLUMNS:
            raise row.wrong(f"column {place} is none of {', '.join(COLUMNS)}", column=place)
    if "question" not in names:
        raise row.wrong("the column 'question' is missing", column="question")
    if len(set(names)) < len(names):
        raise row.wrong("a column comes twice")


def _limited(file: str, source: Any, limit: int) -> Iterator[bytes]:
    size, number = 0, 0
    try:
        # Read in pieces, so that a file of one endless line is refused too.
        while line := source.readline(limit + 1 - size):
            size, number = size + len(line), number + 1
            if size > limit:
                raise InvalidQuestionSet(f"it is larger than {limit // 1024 // 1024} MiB", file)
            yield line
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InvalidQuestionSet("it is no whole gzip file", file, number + 1) from error
