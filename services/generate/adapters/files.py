"""Adapters' files: copied from wherever fsspec reads, checked, and kept by tenant under their digest."""

import hashlib
import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fsspec
import orjson

from services.common.identity import Identity
from services.generate.adapters.safetensors import NotSafetensors, shapes_in
from services.generate.domain.adapter import Adapter, BaseModel, Lineage, check_config, check_tensors, lineage_of
from services.generate.domain.errors import AdapterNotFound, InvalidAdapter

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
LINEAGE = "lineage.json"
MAX_CONFIG_BYTES = 1 << 20
MAX_WEIGHTS_BYTES = 2 << 30
MAX_LINEAGE_BYTES = 16 << 20
BLOCK_BYTES = 1 << 20

_LIMITS = {CONFIG: MAX_CONFIG_BYTES, WEIGHTS: MAX_WEIGHTS_BYTES, LINEAGE: MAX_LINEAGE_BYTES}

# What unpickles, and so runs, whatever its author wrote.
_PICKLES = {"adapter_model.bin", "adapter_model.pt", "adapter_model.pth", "adapter_model.pkl"}


# Stands in a root for the id of the caller's tenant.
TENANT = "{tenant}"


class AdapterFiles:
    """Fetches adapters for one base model."""

    def __init__(self, cache: Path, base: BaseModel, protocols: Sequence[str], roots: Sequence[str] = ("",)) -> None:
        """`protocols` are the kinds of URL that may be read; a bare path is "file". URIs begin with one of `roots`."""
        self._cache = cache / "adapters"
        self._base = base
        self._protocols = frozenset(protocols)
        self._roots = roots

    def fetch(self, identity: Identity, uri: str) -> Adapter:
        """Copy the adapter at `uri` into the tenant's part of the cache, unless it is there, and return it. Blocks.

        Raises:
            AdapterNotFound: there is nothing at `uri`.
            InvalidAdapter: what is there is no adapter that the engine can run.
        """
        self._check_place(identity, uri)
        files, root = self._opened(uri)
        aside = self._own(identity) / uuid.uuid4().hex
        aside.mkdir(parents=True)
        try:
            return self._copied(files, root, aside)
        except (OSError, ImportError) as error:
            raise InvalidAdapter("the adapter cannot be read", detail=type(error).__name__) from error
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    def remove(self, identity: Identity) -> int:
        """Remove all of the tenant's adapters from the cache, and return how many there were. Blocks."""
        folders = list(self._own(identity).glob("*"))
        shutil.rmtree(self._own(identity), ignore_errors=True)
        return len(folders)

    def _own(self, identity: Identity) -> Path:
        # Whatever a tenant's id holds, it is one folder's name.
        return self._cache / hashlib.sha256(identity.tenant_id.encode()).hexdigest()

    def _check_place(self, identity: Identity, uri: str) -> None:
        own = (root.replace(TENANT, identity.tenant_id) for root in self._roots)
        if ".." in uri.split("/") or not any(uri.startswith(root) for root in own):
            raise InvalidAdapter("the tenant's adapters are not read from such a place")

    def _opened(self, uri: str) -> tuple[Any, str]:
        protocol = uri.partition("://")[0] if "://" in uri else "file"
        # A chained URL would reach every other protocol through the first.
        if protocol not in self._protocols or "::" in uri or not uri or "\0" in uri:
            raise InvalidAdapter("adapters are not read from such a place", allowed=",".join(sorted(self._protocols)))
        try:
            files, root = fsspec.core.url_to_fs(uri)
        except (ImportError, ValueError, OSError) as error:
            raise InvalidAdapter("the URI cannot be read", detail=type(error).__name__) from error
        return files, str(root).rstrip("/")

    def _copied(self, files: Any, root: str, aside: Path) -> Adapter:
        names = _checked_listing(files, root)
        digest = hashlib.sha256()
        # The digest of a shell's `cat adapter_config.json adapter_model.safetensors lineage.json | sha256sum`.
        for name, limit in _LIMITS.items():
            if name not in names:
                continue
            with files.open(f"{root}/{name}", "rb") as source, (aside / name).open("wb") as copy:
                while block := source.read(BLOCK_BYTES):
                    digest.update(block)
                    copy.write(block)
                    if copy.tell() > limit:
                        raise InvalidAdapter("the adapter is too large", file=name, limit_bytes=limit)
        folder = aside.with_name(digest.hexdigest())
        rank, lineage = self._read(aside)
        try:
            aside.rename(folder)
        except OSError:
            # Somebody else has put the same there; a folder never gives way to another.
            if not folder.is_dir():
                raise
        return Adapter(f"sha256:{digest.hexdigest()}", rank, self._base.name, str(folder.absolute()), lineage)

    def _read(self, folder: Path) -> tuple[int, Lineage]:
        told = folder / LINEAGE
        try:
            rank = check_config(orjson.loads((folder / CONFIG).read_bytes()), self._base)
            check_tensors(shapes_in(folder / WEIGHTS), rank, self._base)
            lineage = lineage_of(orjson.loads(told.read_bytes())) if told.exists() else Lineage()
        except (orjson.JSONDecodeError, NotSafetensors) as error:
            raise InvalidAdapter("a file of the adapter is broken", detail=str(error)[:200]) from error
        return rank, lineage


def _checked_listing(files: Any, root: str) -> set[str]:
    """Return the names of the files at `root`."""
    names = {str(path).rpartition("/")[2] for path in files.ls(root, detail=False)} if files.isdir(root) else set()
    if not names:
        raise AdapterNotFound("there is no adapter at the URI")
    if WEIGHTS not in names and names & _PICKLES:
        raise InvalidAdapter("the weights are a pickle; only safetensors is read")
    if missing := {CONFIG, WEIGHTS} - names:
        raise InvalidAdapter("a file of the adapter is missing", file=min(missing))
    return names
