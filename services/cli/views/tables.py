"""Tables of things that have names."""

from collections.abc import Iterable, Mapping
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from tandem.gateway.v1 import gateway_service_pb2 as pb

from services.cli.output import visible


def new_table(*columns: str) -> Table:
    """Return an empty table in the house's look."""
    return Table(*columns, box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)


def table(rows: Iterable[Mapping[str, Any]], columns: Iterable[str]) -> RenderableType:
    """Return a table of some fields of some objects."""
    columns = tuple(columns)
    drawn = new_table(*(column.replace("_", " ") for column in columns))
    for row in rows:
        drawn.add_row(*(cell(when(row, column)) for column in columns))
    return drawn if drawn.row_count else Text("none", "dim")


def counted(number: int, noun: str) -> str:
    """Return "1 document", "2 documents"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def when(row: Mapping[str, Any], column: str) -> Any:
    """Return a field; a time as far as its seconds."""
    value = row.get(column, "")
    return value[:19].replace("T", " ") if column.endswith("_at") else value


def cell(value: Any) -> Text:
    """Return a value for a table."""
    if isinstance(value, list):
        return Text(visible(", ".join(map(str, value))))
    if isinstance(value, bool):
        return Text("yes" if value else "no")
    return Text(visible(str(value)))


def made_key(made: pb.CreateApiKeyResponse) -> RenderableType:
    """Return a new key with its secret."""
    return Group(
        Text(f"key {made.api_key.key_id} ({visible(made.api_key.name)})"),
        Text(made.secret, "bold"),
        Text("The secret is shown this once: keep it now.", "dim"),
    )


def turns(rows: Iterable[Mapping[str, Any]]) -> RenderableType:
    """Return questions with their answers, a line each."""
    lines = []
    for row in rows:
        facts = f"{row['completion_tokens']} tokens, {row['total_ms']} ms, {len(row['passages'])} passages"
        head = (f"{when(row, 'asked_at')} {row['assistant']}, {facts}{_support(row)}", "dim")
        question, answer = (" ".join(visible(row[key]).split()) for key in ("question", "answer"))
        lines.append(Text.assemble(head, "\n  ", (question, "bold"), "\n  ", answer))
    return Group(*lines) if lines else Text("none", "dim")


def _support(row: Mapping[str, Any]) -> str:
    if row["abstained"]:
        return ", the documents did not tell"
    return f", {row['supported_share']:.0%} of {row['sentences']} sentences supported" if row["sentences"] else ""
