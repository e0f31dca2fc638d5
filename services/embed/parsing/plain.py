"""Reads text formats: Markdown and plain text, CSV, JSON."""

import csv
import io
import json
import re
import sys
from collections.abc import Iterator
from typing import Any

from services.embed.domain import MalformedDocument, ParsedDocument
from services.embed.parsing.tables import table_of
from services.embed.parsing.text import decode

_TITLE = re.compile(r"^#[ \t]+(\S.*)$", re.MULTILINE)
_FENCE = re.compile(r"^ {0,3}(```|~~~)", re.MULTILINE)
_SNIFFED = 16 * 1024


def parse_text(content: bytes) -> ParsedDocument:
    """Read Markdown; plain text is Markdown without marks."""
    text = decode(content)
    fence = _FENCE.search(text)
    title = _TITLE.search(text, 0, fence.start() if fence else len(text))
    return ParsedDocument(text, title[1].strip("# \t\r") if title else "")


def parse_csv(content: bytes) -> ParsedDocument:
    """Read a table, whatever its delimiter; what has a single column is text."""
    text = decode(content)
    csv.field_size_limit(sys.maxsize)
    try:
        dialect: Any = csv.Sniffer().sniff(text[:_SNIFFED], ",;\t|")
    except csv.Error:
        dialect = csv.excel
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), dialect))
    except csv.Error as error:
        raise MalformedDocument("the table cannot be read") from error
    if all(len(row) <= 1 for row in rows):
        return ParsedDocument(text)
    return ParsedDocument(table_of(rows), kind="table")


def parse_json(content: bytes) -> ParsedDocument:
    """Read JSON, or one JSON value a line, as an outline; each item of a list is a paragraph."""
    text = decode(content)
    value = _loaded(text)
    items = value if isinstance(value, list) else [value]
    try:
        return ParsedDocument("\n\n".join("\n".join(_outline(item, "")) for item in items), kind="text")
    except RecursionError as error:
        raise MalformedDocument("the JSON is nested too deeply") from error


def _loaded(text: str) -> Any:
    try:
        return json.loads(text)
    except RecursionError as error:
        raise MalformedDocument("the JSON is nested too deeply") from error
    except ValueError:
        return [_line(line) for line in text.splitlines() if line.strip()]


def _line(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        # A broken line among good ones is still text that can be found.
        return line


def _outline(value: Any, indent: str) -> Iterator[str]:
    match value:
        case dict():
            for key, inner in value.items():
                yield from _entry(f"{indent}{key}:", inner, indent)
        case list():
            for inner in value:
                yield from _entry(f"{indent}-", inner, indent)
        case _:
            yield f"{indent}{_scalar(value)}"


def _entry(label: str, inner: Any, indent: str) -> Iterator[str]:
    if isinstance(inner, dict | list):
        yield label
        yield from _outline(inner, indent + "  ")
    else:
        yield f"{label} {_scalar(inner)}"


def _scalar(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
