"""Rows from files that people send: JSONL or Parquet, in the common formats; what is wrong is named with its place."""

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from services.common.prompts.prompt import MAX_QUESTION_CHARACTERS, Turn
from services.tune.datasets.errors import InvalidDatasetFile
from services.tune.datasets.rows import Kind, Row, RowPassage

MAX_BYTES = 32 * 1024 * 1024
MAX_ROWS = 200_000
# Parquet packs: what it unpacks to is bounded, too.
MAX_UNPACKED_BYTES = 512 * 1024 * 1024
MAX_TEXT_CHARS = 100_000
MAX_PASSAGES = 100
_PARQUET = b"PAR1"
_ROLES = frozenset({"system", "user", "assistant"})

# The columns that each kind needs, and what else a row may have.
_ANSWERS = {
    Kind.SFT: ("completion",),
    Kind.KTO: ("completion", "label"),
    Kind.DPO: ("chosen", "rejected"),
    Kind.GRPO: (),
}
_OPTIONAL = frozenset({"conversation", "at", "source", "language", "passages", "answers", "answerable"})
_TEXTS = ("conversation", "at", "source", "language")


@dataclass(frozen=True, slots=True)
class _Record:
    """One row's fields as they stand in a file."""

    file: str
    line: int
    fields: Mapping[str, Any]

    def wrong(self, message: str, column: str = "") -> InvalidDatasetFile:
        return InvalidDatasetFile(message, self.file, self.line, column)


def rows_in(kind: Kind, file: str, content: bytes) -> list[Row]:
    """Return the rows of a file.

    Raises:
        InvalidDatasetFile: it cannot be used, and where and why.
    """
    if not content:
        raise InvalidDatasetFile("it is empty", file)
    if len(content) > MAX_BYTES:
        raise InvalidDatasetFile(f"it is larger than {MAX_BYTES // 1024 // 1024} MiB", file)
    records = _parquet(file, content) if content.startswith(_PARQUET) else _jsonl(file, content)
    rows: list[Row] = []
    for record in records:
        if len(rows) == MAX_ROWS:
            raise record.wrong(f"it has more than {MAX_ROWS} rows")
        rows.append(_row(kind, record))
    if not rows:
        raise InvalidDatasetFile("it has no rows", file)
    return rows


def _jsonl(file: str, content: bytes) -> Iterator[_Record]:
    for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            value = orjson.loads(line.decode())
        except UnicodeDecodeError as error:
            raise InvalidDatasetFile(f"it is not UTF-8, at byte {error.start + 1}", file, number) from error
        except orjson.JSONDecodeError as error:
            raise InvalidDatasetFile(f"this is no JSON, at character {error.pos + 1}", file, number) from error
        if not isinstance(value, dict):
            raise InvalidDatasetFile("this is no JSON object", file, number)
        yield _Record(file, number, value)


def _parquet(file: str, content: bytes) -> Iterator[_Record]:
    import pyarrow as pa  # noqa: PLC0415 - slow to import, and not needed for most files
    import pyarrow.parquet as pq  # noqa: PLC0415

    try:
        with pq.ParquetFile(io.BytesIO(content)) as read:
            groups = [read.metadata.row_group(number) for number in range(read.metadata.num_row_groups)]
            if sum(each.total_byte_size for each in groups) > MAX_UNPACKED_BYTES:
                raise InvalidDatasetFile(f"it unpacks to more than {MAX_UNPACKED_BYTES // 1024 // 1024} MiB", file)
            number = 0
            for batch in read.iter_batches(1000):
                for value in batch.to_pylist():
                    number += 1
                    # A column that a row does not have is null in Parquet.
                    yield _Record(file, number, {name: each for name, each in value.items() if each is not None})
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InvalidDatasetFile("this is no Parquet that can be read", file) from error


def _row(kind: Kind, record: _Record) -> Row:
    """Return the row of a record: its last question, the turns before it, and its answers."""
    if "messages" in record.fields and "prompt" not in record.fields:
        turns = _Chat(record, "messages")
        answer = turns.answer() if kind in {Kind.SFT, Kind.KTO} else ""
        if kind is Kind.DPO:
            raise record.wrong('a pair has "prompt", "chosen" and "rejected"', "messages")
        _known(record, {"messages", "label"} if kind is Kind.KTO else {"messages"})
        own: dict[str, Any] = {"completion": answer} if answer else {}
    else:
        turns = _prompt(kind, record)
        own = {name: _answer(record, name) for name in _ANSWERS[kind] if name != "label"}
    if kind is Kind.KTO:
        own["label"] = _label(record)
    if kind is Kind.GRPO:
        own |= _right(record)
    return Row(**turns.asked(), **own, **_facts(record))


def _prompt(kind: Kind, record: _Record) -> "_Chat":
    needed = ("prompt", *_ANSWERS[kind])
    missing = [name for name in needed if name not in record.fields]
    if missing:
        raise record.wrong(f"it has no column {missing[0]}: a {kind.value} row has {', '.join(needed)}", missing[0])
    _known(record, needed)
    return _Chat(record, "prompt")


class _Chat:
    """A prompt: a text, or messages of which the last is a question, or an answer where one is wanted."""

    def __init__(self, record: _Record, column: str) -> None:
        self._record, self._column = record, column
        value = record.fields[column]
        messages = [{"role": "user", "content": value}] if isinstance(value, str) else value
        self._messages = list(_messages(record, column, messages))
        first = self._messages[:1]
        self._instructions = first[0][1] if first and first[0][0] == "system" else ""
        self._turns = self._messages[1 if self._instructions or (first and first[0][0] == "system") else 0 :]

    def answer(self) -> str:
        """Take the last message, which answers, off, and return it."""
        if not self._turns or self._turns[-1][0] != "assistant":
            raise self._wrong("the last message is of the assistant")
        return self._turns.pop()[1]

    def asked(self) -> dict[str, Any]:
        """Return question, earlier turns and instructions."""
        roles = [role for role, _ in self._turns]
        wanted = ["user" if place % 2 == 0 else "assistant" for place in range(len(roles))]
        if not roles or roles != wanted or len(roles) % 2 == 0:
            raise self._wrong("user and assistant take turns, and the question is the user's")
        texts = [text for _, text in self._turns]
        if len(texts[-1]) > MAX_QUESTION_CHARACTERS:
            raise self._wrong(f"the question has more than {MAX_QUESTION_CHARACTERS} characters")
        pairs = zip(texts[:-1:2], texts[1:-1:2], strict=True)
        history = tuple(Turn(question, answer) for question, answer in pairs)
        return {"question": texts[-1], "history": history, "instructions": self._instructions}

    def _wrong(self, message: str) -> InvalidDatasetFile:
        return self._record.wrong(message, self._column)


def _messages(record: _Record, column: str, value: Any) -> Iterator[tuple[str, str]]:
    if not isinstance(value, list) or not value:
        raise record.wrong("this is neither a text nor a list of messages", column)
    for message in value:
        if not isinstance(message, Mapping) or message.get("role") not in _ROLES:
            raise record.wrong(f"a message has a role, {', '.join(sorted(_ROLES))}, and content", column)
        yield message["role"], _text(record, column, message.get("content"))


def _answer(record: _Record, column: str) -> str:
    """Return an answer: a text, or a chat whose last message it is."""
    value = record.fields[column]
    return _text(record, column, value) if isinstance(value, str) else _Chat(record, column).answer()


def _label(record: _Record) -> bool:
    value = record.fields.get("label")
    if not isinstance(value, bool):
        raise record.wrong("the label is true or false", "label")
    return value


def _right(record: _Record) -> dict[str, Any]:
    answers = record.fields.get("answers", [])
    if not isinstance(answers, list):
        raise record.wrong("the right answers are a list of texts", "answers")
    answerable = record.fields.get("answerable", True)
    if not isinstance(answerable, bool):
        raise record.wrong("it is true or false", "answerable")
    return {"answers": tuple(_text(record, "answers", each) for each in answers), "answerable": answerable}


def _facts(record: _Record) -> dict[str, Any]:
    found: dict[str, Any] = {
        name: _text(record, name, record.fields[name]) for name in _TEXTS if record.fields.get(name)
    }
    passages = record.fields.get("passages", [])
    if not isinstance(passages, list) or len(passages) > MAX_PASSAGES:
        raise record.wrong(f"passages are a list of at most {MAX_PASSAGES}", "passages")
    found["passages"] = tuple(_passage(record, each) for each in passages)
    return found


def _passage(record: _Record, value: Any) -> RowPassage:
    if isinstance(value, str):
        return RowPassage("", "", _text(record, "passages", value))
    if not isinstance(value, Mapping):
        raise record.wrong("a passage is a text, or has title and text", "passages")
    # A document of ours is what was read here, not what a file says.
    return RowPassage(
        "", _text(record, "passages", value.get("title", "")), _text(record, "passages", value.get("text"))
    )


def _text(record: _Record, column: str, value: Any) -> str:
    if not isinstance(value, str):
        raise record.wrong("this is no text", column)
    if len(value) > MAX_TEXT_CHARS:
        raise record.wrong(f"a text has more than {MAX_TEXT_CHARS} characters", column)
    return value


def _known(record: _Record, needed: Sequence[str] | set[str]) -> None:
    unknown = sorted(set(record.fields) - set(needed) - _OPTIONAL)
    if unknown:
        raise record.wrong("no such column is known", unknown[0])
