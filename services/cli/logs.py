"""Reads the logs of a home as they grow, and makes their lines fit for people or for programs."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from rich.text import Text

from services.cli.output import visible

CHUNK_BYTES = 1 << 20
HIDDEN = {"event", "level", "timestamp", "service"}
LEVEL_STYLES = {"warning": "yellow", "error": "bold red", "critical": "bold red", "debug": "dim"}
NAME_STYLES = ("cyan", "green", "magenta", "blue", "bright_cyan", "bright_green", "bright_magenta", "bright_blue")


@dataclass(slots=True)
class Tail:
    """Reads a log from `position` on, whole lines only; a log that was set aside is read anew."""

    path: Path
    position: int = 0
    _inode: int = field(default=0, init=False)

    def lines(self) -> Iterator[str]:
        """Yield the lines that are new since the last call."""
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            self._follow_rotation()
            file.seek(self.position)
            while chunk := file.read(CHUNK_BYTES):
                whole, newline, rest = chunk.rpartition(b"\n")
                if not newline and len(chunk) < CHUNK_BYTES:
                    return
                whole = whole if newline else rest
                self.position += len(whole) + len(newline)
                file.seek(self.position)
                yield from whole.decode("utf-8", "replace").splitlines()

    def _follow_rotation(self) -> None:
        status = self.path.stat()
        if self._inode not in {0, status.st_ino} or status.st_size < self.position:
            self.position = 0
        self._inode = status.st_ino


def last_lines(path: Path, count: int) -> Tail:
    """Return a tail that begins with the last `count` lines of a log."""
    content = path.read_bytes() if path.exists() else b""
    position = len(content)
    for _ in range(count + 1):
        position = content.rfind(b"\n", 0, position)
        if position < 0:
            break
    return Tail(path, position + 1)


def fields_of(service: str, line: str) -> dict[str, Any]:
    """Return a line as an object; one that is not JSON becomes the field "message"."""
    try:
        fields = orjson.loads(line)
    except orjson.JSONDecodeError:
        fields = None
    if not isinstance(fields, dict):
        fields = {"message": line}
    return {"service": service, **fields}


def pretty(fields: Mapping[str, Any]) -> Text:
    """Return a line's fields for people."""
    name, level = str(fields["service"]), str(fields.get("level", ""))
    text = Text()
    text.append(f"{str(fields.get('timestamp', ''))[11:19]:8} ", "dim")
    text.append(f"{name:10} ", NAME_STYLES[sum(name.encode()) % len(NAME_STYLES)])
    text.append(visible(str(fields.get("event", fields.get("message", "")))), LEVEL_STYLES.get(level, ""))
    for key, value in fields.items():
        if key not in HIDDEN and not (key == "message" and "event" not in fields):
            text.append(f" {visible(key)}=", "dim")
            text.append(visible(str(value)))
    return text


def poll(tails: Mapping[str, Tail]) -> Iterator[dict[str, Any]]:
    """Yield the fields of every line that is new in some logs, by service."""
    for service, tail in tails.items():
        for line in tail.lines():
            yield fields_of(service, line)
