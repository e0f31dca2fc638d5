"""Writes rows of values as a Markdown table."""

from collections.abc import Iterable, Sequence


def table_of(rows: Iterable[Sequence[object]]) -> str:
    """Return a Markdown table; its first row that has a value is the header."""
    written = [cells for row in rows if any(cells := [_cell(value) for value in row])]
    if not written:
        return ""
    width = max(_used(cells) for cells in written)
    lines = ["| " + " | ".join(_padded(cells, width)) + " |" for cells in written]
    return "\n".join([lines[0], "|" + " --- |" * width, *lines[1:]])


def _cell(value: object) -> str:
    return "" if value is None else " ".join(str(value).split()).replace("|", "\\|")


def _used(cells: Sequence[str]) -> int:
    return max(position for position, cell in enumerate(cells, 1) if cell)


def _padded(cells: Sequence[str], width: int) -> list[str]:
    return [*cells, *[""] * (width - len(cells))][:width]
