"""The "files" connector: a folder, or one file, on this host."""

import asyncio
import math
import os
import stat
import time
from collections.abc import AsyncGenerator, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from mimetypes import guess_type
from pathlib import Path

from services.ingest.adapters.watching import follow
from services.ingest.domain import FilesConfig
from services.ingest.errors import InvalidSourceConfig, PathGone, PathNotFound
from services.ingest.globs import MEDIA_TYPES, Globs, is_hidden
from services.ingest.ports import Entry, Listing, TooLarge, Unreadable, Vanished

READ_ATTEMPTS = 4
SETTLE_SECONDS = 0.02
# A file written twice within its file system's clock tick shows the same times.
CLOCK_TICK_NS = 10_000_000
LATEST_SECONDS = 253_402_300_799  # the last second of the year 9999
# A watch may lose events: an overflown queue, a network folder.
RESYNC_SECONDS = 300
UNDECODABLE = "\N{REPLACEMENT CHARACTER}"


@dataclass(frozen=True, slots=True)
class Root:
    """Where a source lies now, links resolved; `shown` is the same place as people know it."""

    path: Path
    folder: Path
    shown: Path
    identity: str

    @property
    def is_folder(self) -> bool:
        """Whether the source is a folder, not one file."""
        return self.path == self.folder


class FilesConnector:
    """Scans, reads and watches the files of one source. Links are not followed out of it."""

    def __init__(
        self, config: FilesConfig, allowed: Sequence[Path] = (Path("/"),), refused: Sequence[Path] = ()
    ) -> None:
        """`allowed` are the folders that sources may lie in, `refused` those that nothing is read from.

        Raises:
            InvalidSourceConfig: a glob cannot be understood, or the path is not absolute.
        """
        self._path = Path(config.path)
        if not self._path.is_absolute() or "\0" in config.path:
            raise InvalidSourceConfig("the path is not absolute")
        self._globs = Globs(config.include, config.exclude)
        self._allowed = allowed
        self._refused = refused

    async def check(self) -> None:
        """Raise PathNotFound unless there is a folder or a file."""
        try:
            await asyncio.to_thread(self._root)
        except PathGone as error:
            raise PathNotFound(str(error), path=self._path) from error

    async def scan(self, only: Collection[str] | None = None) -> Listing:
        """Return the files that belong to the source; see Connector."""
        return await asyncio.to_thread(self._scan, only)

    async def read(self, entry: Entry, limit_bytes: int) -> tuple[bytes, Entry]:
        """Return a file's bytes, read again while somebody writes it; see Connector."""
        return await asyncio.to_thread(_read, entry, limit_bytes)

    async def watch(self) -> AsyncGenerator[Collection[str] | None]:
        """Yield the files that changed, within about a tenth of a second; see Connector."""
        root = await asyncio.to_thread(self._root)
        listed_at = -math.inf
        async for paths in follow(root.folder, recursive=root.is_folder):
            # A folder that was replaced sends no more events.
            if (await asyncio.to_thread(self._root)).identity != root.identity:
                raise PathGone("the folder was replaced", path=self._path)
            hints = await asyncio.to_thread(self._hints, root, paths)
            if hints is None or time.monotonic() - listed_at > RESYNC_SECONDS:
                yield None
                listed_at = time.monotonic()
            elif hints:
                yield hints

    def _root(self) -> Root:
        try:
            path = self._path.resolve(strict=True)
            status = path.stat()
            if path.is_dir():
                os.scandir(path).close()
        except (OSError, RuntimeError, ValueError) as error:
            raise PathGone(f"the path cannot be opened: {_words(error)}", path=self._path) from error
        if not _is_within(path, self._allowed) or _is_within(path, self._refused):
            raise PathGone("the path is outside the folders that sources may lie in", path=self._path)
        if stat.S_ISDIR(status.st_mode):
            return Root(path, path, self._path, f"{status.st_dev}:{status.st_ino}")
        if stat.S_ISREG(status.st_mode):
            return Root(path, path.parent, self._path.parent, "")
        raise PathGone("the path is neither a folder nor a file", path=self._path)

    def _scan(self, only: Collection[str] | None) -> Listing:
        root = self._root()
        unlisted: list[str] = []
        if not root.is_folder:
            paths: Iterable[Path] = (root.path,)
        elif only is None:
            paths = self._walk(root, root.path, unlisted)
        else:
            paths = self._named(root, only, unlisted)
        entries = [entry for entry in (self._entry(root, path) for path in paths) if entry]
        if self._root().identity != root.identity:
            raise PathGone("the folder was replaced while it was scanned", path=self._path)
        return Listing(root.identity, {entry.external_id: entry for entry in entries}, tuple(unlisted))

    def _entry(self, root: Root, path: Path) -> Entry | None:
        entry = _entry(root, path)
        return None if entry is None or _is_within(Path(entry.location), self._refused) else entry

    def _named(self, root: Root, names: Iterable[str], unlisted: list[str]) -> Iterator[Path]:
        for name in names:
            if name.endswith("/"):
                yield from self._walk(root, root.path / name, unlisted)
            elif self._globs.takes(name):
                yield root.path / name

    def _walk(self, root: Root, folder: Path, unlisted: list[str]) -> Iterator[Path]:
        """Yield every file below that the globs take; note the folders that nobody may list."""
        try:
            with os.scandir(folder) as found:
                items = sorted(found, key=lambda item: item.name)
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError:
            unlisted.append(_external_id(root, folder) + "/")
            return
        for item in items:
            path = folder / item.name
            name = _external_id(root, path)
            if item.is_dir(follow_symlinks=False):
                if self._globs.enters(name):
                    yield from self._walk(root, path, unlisted)
            elif self._globs.takes(name):
                yield path

    def _hints(self, root: Root, paths: Collection[Path]) -> Collection[str] | None:
        """Return the external ids that may have changed; "folder/" is all below it, None everything."""
        if not root.is_folder:
            return None if root.path in paths else ()
        hints: set[str] = set()
        for path in paths:
            name = _external_id(root, path)
            if path == root.path or UNDECODABLE in name:
                return None
            if not is_hidden(name):
                hints |= self._hint(path, name)
        return hints

    def _hint(self, path: Path, name: str) -> set[str]:
        try:
            status = path.lstat()
        except OSError:  # gone, and nobody knows whether it was a file or a folder
            return {name, f"{name}/"}
        if stat.S_ISDIR(status.st_mode):
            return {f"{name}/"}
        return {name} if self._globs.takes(name) else set()


def _is_within(path: Path, folders: Sequence[Path]) -> bool:
    return any(path.is_relative_to(folder.resolve()) for folder in folders)


def _external_id(root: Root, path: Path) -> str:
    """Return the path within the source; bytes that are no UTF-8 are shown in hexadecimal."""
    return os.fsencode(path.relative_to(root.folder)).decode("utf-8", "backslashreplace")


def _entry(root: Root, path: Path) -> Entry | None:
    """Return the entry of a regular file inside the source, or None."""
    try:
        real = path.resolve(strict=True)
        status = real.stat()
    except PermissionError:
        return _described(root, path, path, None)
    except (OSError, RuntimeError):
        return None
    if not stat.S_ISREG(status.st_mode) or not real.is_relative_to(root.path):
        return None
    return _described(root, path, real, status)


def _described(root: Root, path: Path, real: Path, status: os.stat_result | None) -> Entry:
    external_id = _external_id(root, path)
    name = external_id.rpartition("/")[2]
    return Entry(
        external_id=external_id,
        location=str(real),
        title=name,
        uri=(root.shown / path.relative_to(root.folder)).as_uri(),
        media_type=MEDIA_TYPES.get(path.suffix.lower()) or guess_type(name)[0] or "",
        size_bytes=status.st_size if status else 0,
        changed_at=_changed_at(status) if status else datetime.fromtimestamp(0, UTC),
        fingerprint=_fingerprint(status) if status else "",
    )


def _read(entry: Entry, limit_bytes: int) -> tuple[bytes, Entry]:
    for attempt in range(READ_ATTEMPTS):
        if attempt:
            time.sleep(SETTLE_SECONDS)
        content, before, after = _read_once(entry.location, limit_bytes)
        if _fingerprint(before) == _fingerprint(after):
            break
    # Of a file that is still being written the older state is kept: the next look finds it changed.
    racy = time.time_ns() - before.st_mtime_ns < CLOCK_TICK_NS
    fingerprint = "" if racy else _fingerprint(before)
    return content, replace(entry, size_bytes=len(content), changed_at=_changed_at(before), fingerprint=fingerprint)


def _read_once(location: str, limit_bytes: int) -> tuple[bytes, os.stat_result, os.stat_result]:
    try:
        # What was a file may be a pipe by now, or a link to somewhere else.
        handle = os.open(location, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        with open(handle, "rb") as file:  # noqa: PTH123 - of a descriptor
            before = os.fstat(handle)
            if not stat.S_ISREG(before.st_mode):
                raise Vanished(location)
            content = b"" if before.st_size > limit_bytes else file.read(limit_bytes + 1)
        if max(before.st_size, len(content)) > limit_bytes:
            raise TooLarge(location)
        return content, before, Path(location).stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise Vanished(location) from error
    except OSError as error:
        raise Unreadable(f"the file cannot be read: {_words(error)}") from error


def _fingerprint(status: os.stat_result) -> str:
    # The change time moves with permissions, and with tools that set the other one back.
    return f"{status.st_mtime_ns}:{status.st_ctime_ns}:{status.st_size}:{status.st_ino}"


def _changed_at(status: os.stat_result) -> datetime:
    return datetime.fromtimestamp(min(max(status.st_mtime, 0), LATEST_SECONDS), UTC)


def _words(error: Exception) -> str:
    return (getattr(error, "strerror", None) or type(error).__name__).lower()
