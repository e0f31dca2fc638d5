"""Adapters in places outside: copied from wherever fsspec reads, as far as the deployment allows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
import orjson

from services.common.errors import NotFound
from services.common.identity import Identity
from services.common.lora.checks import BaseModel, Lineage, check_config, check_tensors, lineage_of
from services.common.lora.errors import InvalidAdapter
from services.common.lora.safetensors import NotSafetensors, shapes_in
from services.common.lora.store import BLOCK_BYTES, CONFIG, LIMITS, LINEAGE, WEIGHTS

# What unpickles, and so runs, whatever its author wrote.
PICKLES = {"adapter_model.bin", "adapter_model.pt", "adapter_model.pth", "adapter_model.pkl"}
# Stands in a root for the id of the caller's tenant.
TENANT = "{tenant}"


class NothingThere(NotFound):
    """The URI holds no adapter."""

    reason = "ADAPTER_NOT_FOUND"


@dataclass(frozen=True, slots=True)
class Places:
    """Where adapters may be read from.

    `protocols` are kinds of URL, a bare path being "file"; URIs begin with one of `roots`, in which
    {tenant} stands for the caller's tenant.
    """

    protocols: Sequence[str]
    roots: Sequence[str] = ("",)

    def copy(self, identity: Identity, uri: str, folder: Path) -> None:
        """Copy an adapter's files from `uri` into `folder`. Blocks.

        Raises:
            NothingThere: there is nothing at `uri`.
            InvalidAdapter: it may not be read, or what is there is no adapter.
        """
        self._check(identity, uri)
        files, root = self._opened(uri)
        try:
            for name in _listed(files, root):
                _copy(files, f"{root}/{name}", folder / name)
        except (OSError, ImportError) as error:
            raise InvalidAdapter("the adapter cannot be read", detail=type(error).__name__) from error

    def _check(self, identity: Identity, uri: str) -> None:
        own = (root.replace(TENANT, identity.tenant_id) for root in self.roots)
        if ".." in uri.split("/") or not any(uri.startswith(root) for root in own):
            raise InvalidAdapter("the tenant's adapters are not read from such a place")

    def _opened(self, uri: str) -> tuple[Any, str]:
        protocol = uri.partition("://")[0] if "://" in uri else "file"
        # A chained URL would reach every other protocol through the first.
        if protocol not in self.protocols or "::" in uri or not uri or "\0" in uri:
            raise InvalidAdapter("adapters are not read from such a place", allowed=",".join(sorted(self.protocols)))
        try:
            files, root = fsspec.core.url_to_fs(uri)
        except (ImportError, ValueError, OSError) as error:
            raise InvalidAdapter("the URI cannot be read", detail=type(error).__name__) from error
        return files, str(root).rstrip("/")


def checked_files(folder: Path, base: BaseModel) -> tuple[int, Lineage]:
    """Return the rank and the lineage of the adapter in `folder`. Blocks.

    Raises:
        InvalidAdapter: it is none that an engine with this base model can run.
    """
    told = folder / LINEAGE
    try:
        config: Mapping[str, Any] = orjson.loads((folder / CONFIG).read_bytes())
        rank = check_config(config, base)
        check_tensors(shapes_in(folder / WEIGHTS), rank, base)
        lineage = lineage_of(orjson.loads(told.read_bytes())) if told.exists() else Lineage()
    except (orjson.JSONDecodeError, NotSafetensors) as error:
        raise InvalidAdapter("a file of the adapter is broken", detail=str(error)[:200]) from error
    return rank, lineage


def _listed(files: Any, root: str) -> list[str]:
    names = {str(path).rpartition("/")[2] for path in files.ls(root, detail=False)} if files.isdir(root) else set()
    if not names:
        raise NothingThere("there is no adapter at the URI")
    if WEIGHTS not in names and names & PICKLES:
        raise InvalidAdapter("the weights are a pickle; only safetensors is read")
    if missing := {CONFIG, WEIGHTS} - names:
        raise InvalidAdapter("a file of the adapter is missing", file=min(missing))
    return [name for name in LIMITS if name in names]


def _copy(files: Any, path: str, target: Path) -> None:
    limit = LIMITS[target.name]
    with files.open(path, "rb") as source, target.open("wb") as copy:
        while block := source.read(BLOCK_BYTES):
            copy.write(block)
            if copy.tell() > limit:
                raise InvalidAdapter("the adapter is too large", file=target.name, limit_bytes=limit)
