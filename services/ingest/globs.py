"""Which files of a folder belong to a source."""

from collections.abc import Iterable, Sequence
from pathlib import PurePath

from pathspec import PathSpec, Pattern

from services.ingest.errors import InvalidSourceConfig

MEDIA_TYPES = {
    ".md": "text/markdown",
    ".markdown": "text/markdown",
    ".txt": "text/plain",
    ".html": "text/html",
    ".htm": "text/html",
    ".pdf": "application/pdf",
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ".csv": "text/csv",
    ".eml": "message/rfc822",
    ".json": "application/json",
}
MAX_GLOBS = 100
MAX_GLOB_CHARS = 200


class Globs:
    """Include, then exclude: written as in a .gitignore, relative to the folder.

    `*.md` is found in every folder, `/*.md` at the top alone, `guides/**` is everything
    under guides. Without an include, every supported format is taken; hidden files and
    folders never are.
    """

    def __init__(self, include: Sequence[str], exclude: Sequence[str]) -> None:
        """Raise InvalidSourceConfig where a glob cannot be understood."""
        self._include = _spec_of(include) if include else None
        self._exclude = _spec_of(exclude)

    def takes(self, path: str) -> bool:
        """Whether the file at `path`, relative to the folder, belongs to the source."""
        if is_hidden(path):
            return False
        if self._include is None:
            wanted = PurePath(path).suffix.lower() in MEDIA_TYPES
        else:
            wanted = self._include.match_file(path)
        return wanted and not self._exclude.match_file(path)

    def enters(self, folder: str) -> bool:
        """Whether anything under `folder`, relative, can belong to the source."""
        return not is_hidden(folder) and not self._exclude.match_file(folder + "/")


def is_hidden(path: str) -> bool:
    """Whether any part of a relative path begins with a dot."""
    return any(part.startswith(".") for part in path.split("/"))


def _spec_of(globs: Iterable[str]) -> PathSpec[Pattern]:
    lines = list(globs)
    if len(lines) > MAX_GLOBS:
        raise InvalidSourceConfig("too many globs", limit=MAX_GLOBS)
    for line in lines:
        if not line.strip() or len(line) > MAX_GLOB_CHARS or "\0" in line:
            raise InvalidSourceConfig("a glob is empty, or too long", limit=MAX_GLOB_CHARS)
    try:
        return PathSpec.from_lines("gitignore", lines)
    except ValueError as error:
        raise InvalidSourceConfig("a glob cannot be understood", detail=str(error)[:200]) from error
