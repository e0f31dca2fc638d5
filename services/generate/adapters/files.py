"""Adapters' files: copied from wherever fsspec reads, checked, and kept by tenant under their digest."""

import shutil
import uuid
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from services.common.identity import Identity
from services.common.lora.checks import Adapter, BaseModel
from services.common.lora.places import Places, checked_files
from services.common.lora.store import digest_of, tenant_folder


class AdapterFiles:
    """Fetches adapters for one base model."""

    def __init__(self, cache: Path, base: BaseModel, protocols: Sequence[str], roots: Sequence[str] = ("",)) -> None:
        """`protocols` are the kinds of URL that may be read; a bare path is "file". URIs begin with one of `roots`."""
        self._cache = cache / "adapters"
        self._base = base
        self._places = Places(protocols, roots)

    def fetch(self, identity: Identity, uri: str) -> Adapter:
        """Copy the adapter at `uri` into the tenant's part of the cache, unless it is there, and return it. Blocks.

        Raises:
            NothingThere: there is nothing at `uri`.
            InvalidAdapter: what is there is no adapter that the engine can run.
        """
        aside = self._cache / tenant_folder(identity.tenant_id) / uuid.uuid4().hex
        aside.mkdir(parents=True)
        try:
            self._places.copy(identity, uri, aside)
            adapter = adapter_in(aside, digest_of(aside), self._base)
            folder = aside.with_name(adapter.digest.removeprefix("sha256:"))
            _moved(aside, folder)
            return replace(adapter, folder=str(folder.absolute()))
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    def remove(self, tenant_id: str) -> int:
        """Remove all of a tenant's adapters from the cache, and return how many there were. Blocks."""
        own = self._cache / tenant_folder(tenant_id)
        folders = list(own.glob("*"))
        shutil.rmtree(own, ignore_errors=True)
        return len(folders)


def adapter_in(folder: Path, digest: str, base: BaseModel) -> Adapter:
    """Return the adapter in a folder on this disk, checked against the base model; blocks.

    Raises:
        InvalidAdapter: the engine cannot run it.
    """
    rank, lineage = checked_files(folder, base)
    return Adapter(digest, rank, base.name, str(folder.absolute()), lineage)


def _moved(aside: Path, folder: Path) -> None:
    try:
        aside.rename(folder)
    except OSError:
        # Somebody else has put the same there; a folder never gives way to another.
        if not folder.is_dir():
            raise
