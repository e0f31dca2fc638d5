"""Contents by their digest, in any store that fsspec reaches."""

import asyncio
import contextlib
import hashlib
import uuid

import fsspec

from services.common.errors import Unavailable


class BlobMissing(Unavailable):
    """The store does not hold the blob."""

    reason = "BLOB_MISSING"


def digest_of(content: bytes) -> str:
    """Return the SHA-256 of `content`, hex."""
    return hashlib.sha256(content).hexdigest()


class Blobs:
    """A content-addressed store: writing the same content twice is one blob."""

    def __init__(self, url: str) -> None:
        """`url` is a folder or any fsspec URL, such as s3://bucket/prefix."""
        self._files, self._root = fsspec.core.url_to_fs(url)

    async def put(self, tenant_id: str, content: bytes) -> str:
        """Store `content` for a tenant and return its key."""
        return await asyncio.to_thread(self._put, tenant_id, content)

    async def get(self, key: str) -> bytes:
        """Return a blob.

        Raises:
            BlobMissing: there is none under `key`.
        """
        try:
            content: bytes = await asyncio.to_thread(self._files.cat_file, self._path(key))
        except FileNotFoundError as error:
            raise BlobMissing("the blob store does not hold the content", key=key) from error
        return content

    async def remove(self, key: str) -> None:
        """Remove a blob; one that is not there is removed already."""
        await asyncio.to_thread(self._remove, key)

    async def keys(self, tenant_id: str) -> list[str]:
        """Return the keys of everything that lies in a tenant's folder."""
        return await asyncio.to_thread(self._keys, tenant_id)

    async def remove_folder(self, tenant_id: str) -> None:
        """Remove a tenant's folder as far as it is empty."""
        await asyncio.to_thread(self._remove_folder, tenant_id)

    @staticmethod
    def key_of(tenant_id: str, content: bytes) -> str:
        """Return the key that `content` is kept under for a tenant."""
        digest = digest_of(content)
        return f"{tenant_id}/{digest[:2]}/{digest}"

    def _remove(self, key: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._files.rm_file(self._path(key))

    def _keys(self, tenant_id: str) -> list[str]:
        found = self._files.find(self._path(tenant_id))
        return [path.removeprefix(self._root + "/") for path in found]

    def _remove_folder(self, tenant_id: str) -> None:
        # Never what is in it: somebody may be putting a content now.
        for folder, _, _ in reversed(list(self._files.walk(self._path(tenant_id)))):
            with contextlib.suppress(OSError):
                self._files.rmdir(folder)

    def _put(self, tenant_id: str, content: bytes) -> str:
        key = self.key_of(tenant_id, content)
        if not self._files.exists(self._path(key)):
            self._write(self._path(key), content)
        return key

    def _write(self, path: str, content: bytes) -> None:
        self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
        # Written aside and moved, so that no reader ever sees half a blob.
        aside = f"{path}.{uuid.uuid4().hex}"
        self._files.pipe_file(aside, content)
        self._files.mv(aside, path)

    def _path(self, key: str) -> str:
        return f"{self._root}/{key}"
