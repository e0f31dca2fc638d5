"""Folders of files in a blob store, each under a name that nobody gives to other files."""

import uuid
from pathlib import Path

import fsspec


class BlobFolders:
    """Folders below one root of a blob store. Every method blocks."""

    def __init__(self, url: str, root: str) -> None:
        """`url` is a folder or any fsspec URL, such as s3://bucket/prefix; `root` is a name below it."""
        self._files, base = fsspec.core.url_to_fs(url)
        self._root = f"{base}/{root}"

    def uri(self, name: str) -> str:
        """Return the folder's URL, as fsspec reads it."""
        return str(self._files.unstrip_protocol(f"{self._root}/{name}"))

    def put(self, folder: Path, name: str) -> None:
        """Keep the files in `folder`; a file that is there is whole, and the same once more changes nothing."""
        target = f"{self._root}/{name}"
        self._files.makedirs(target, exist_ok=True)
        for path in folder.iterdir():
            # Written aside and moved.
            aside = f"{self._root}/.{uuid.uuid4().hex}"
            self._files.put_file(str(path), aside)
            self._files.mv(aside, f"{target}/{path.name}")

    def names(self, name: str) -> list[str]:
        """Return the names of the folder's files.

        Raises:
            FileNotFoundError: there is no such folder.
        """
        paths = self._files.ls(f"{self._root}/{name}", detail=False)
        return sorted(str(path).rpartition("/")[2] for path in paths)

    def get(self, name: str, file: str, into: Path) -> None:
        """Copy one file of a folder into a folder on this disk.

        Raises:
            FileNotFoundError: it is not there.
        """
        self._files.get_file(f"{self._root}/{name}/{file}", str(into / file))

    def size(self, name: str, file: str) -> int:
        """Return how many bytes a file has.

        Raises:
            FileNotFoundError: it is not there.
        """
        return int(self._files.size(f"{self._root}/{name}/{file}") or 0)

    def remove(self, name: str) -> None:
        """Remove a folder; one that is not there is removed already."""
        path = f"{self._root}/{name}"
        if self._files.exists(path):
            self._files.rm(path, recursive=True)
