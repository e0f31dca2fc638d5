"""Prints for people or for programs: every verb hands over data, and how to draw it."""

import sys
from collections.abc import Callable, Mapping
from typing import Any

import orjson
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from rich.console import Console, RenderableType

from services.common.text import visible as visible  # noqa: PLC0414 - here for whoever prints

_WELL_KNOWN = "google.protobuf."
PIPE_WIDTH = 160


class Output:
    """One verb's output: one JSON value a line, or what rich draws."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        # What is read later, from a file or a pipe, is not cut to the width of a terminal.
        width = None if sys.stdout.isatty() else PIPE_WIDTH
        self.console = Console(highlight=False, soft_wrap=True, width=width)
        self.errors = Console(stderr=True, highlight=False, soft_wrap=True)

    def show(self, data: Mapping[str, Any], draw: Callable[[], RenderableType]) -> None:
        """Print `data` as a line of JSON, or what `draw` makes of it."""
        if self.as_json:
            self.json(data)
        else:
            self.console.print(draw(), soft_wrap=False)

    def json(self, data: Mapping[str, Any]) -> None:
        """Print one line of JSON."""
        self.console.file.write(orjson.dumps(data).decode() + "\n")
        self.console.file.flush()

    def say(self, text: str, style: str = "") -> None:
        """Tell people something; programs do not get it."""
        if not self.as_json:
            self.console.print(text, style=style, markup=False)

    def draw(self, drawing: RenderableType) -> None:
        """Draw something for people; programs do not get it."""
        if not self.as_json:
            self.console.print(drawing)

    def write(self, text: str) -> None:
        """Print a piece of a line for people, at once."""
        if not self.as_json:
            self.console.file.write(visible(text))
            self.console.file.flush()


def plain(message: Message) -> dict[str, Any]:
    """Return a message as JSON's types: integers stay integers, enums are their short names."""
    return {
        field.name: _plain_field(field, getattr(message, field.name))
        for field in message.DESCRIPTOR.fields
        if not field.has_presence or message.HasField(field.name)
    }


def _plain_field(field: Any, value: Any) -> Any:
    if field.is_repeated:
        return [_plain_value(field, item) for item in value]
    return _plain_value(field, value)


def _plain_value(field: Any, value: Any) -> Any:
    if field.enum_type:
        return short_name(field, value)
    if not field.message_type:
        return value
    if field.message_type.full_name.startswith(_WELL_KNOWN):
        return MessageToDict(value)
    return plain(value)


def short_name(field: Any, value: int) -> str:
    """Return DOCUMENT_STATE_PENDING as "pending"; "" for what is unspecified."""
    names = field.enum_type.values_by_number
    prefix = names[0].name.removesuffix("UNSPECIFIED")
    name = names[value].name if value in names else str(value)
    return "" if value == 0 else name.removeprefix(prefix).lower()
