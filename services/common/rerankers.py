"""Rerankers as files: what makes a folder one, its digest, and where it lies in the blob store.

This is a contract between whoever trains a reranker, whoever puts it into use by its digest, and
whoever scores passages with it.
"""

import asyncio
import hashlib
import json
import re
import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from services.common.errors import FailedPrecondition, Unavailable
from services.common.folders import BlobFolders

ROOT = "rerankers"
# Of a query and a text together; what is longer is cut. The same where it learns, is measured, and is served.
TOKENS = 128
CONFIG = "config.json"
MODULES = "modules.json"
# Whose it is, and how it was made; it makes a reranker one tenant's own.
CARD = "tandem.json"
WEIGHTS = ".safetensors"
# Formats that hold data alone: whoever reads a file of another kind may run what is in it.
SUFFIXES = frozenset({".json", WEIGHTS, ".txt", ".model"})
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")
DIGEST = re.compile(r"[0-9a-f]{64}")


class NotACrossEncoder(FailedPrecondition):
    """The model does not read a query and a text together and give one score."""

    reason = "NOT_A_CROSS_ENCODER"


class RerankerMissing(Unavailable):
    """The blob store does not hold the reranker."""

    reason = "RERANKER_MISSING"


class RerankerAltered(FailedPrecondition):
    """The files are not those of the digest: something is cut off, changed or added."""

    reason = "RERANKER_ALTERED"


def text_of(title: str, headings: Sequence[str], text: str) -> str:
    """Return a passage as a cross-encoder reads it, the same when it learns and when it scores."""
    return "\n".join((" > ".join(dict.fromkeys((title, *headings))), text)).strip()


def blended(fused: Sequence[float], scores: Sequence[float], weight: float) -> list[float]:
    """Return (1 - weight) of the fused scores and weight of the reranker's, each stretched to 0 to 1 before.

    A weight of 1 ranks as the reranker alone, 0 as the fused scores do.
    """
    pairs = zip(_stretched(fused), _stretched(scores), strict=True)
    return [(1 - weight) * old + weight * new for old, new in pairs]


def _stretched(values: Sequence[float]) -> list[float]:
    low, high = min(values, default=0.0), max(values, default=0.0)
    return [(value - low) / (high - low) if high > low else 0.0 for value in values]


def check_cross_encoder(folder: Path) -> None:
    """Check that `folder` holds a cross-encoder with one score, and nothing that could run when it is read.

    Raises:
        NotACrossEncoder: it does not, and why.
    """
    config = _json_of(folder / CONFIG)
    architectures = [str(each) for each in config.get("architectures") or ()]
    if not any(each.endswith("ForSequenceClassification") for each in architectures):
        raise NotACrossEncoder("the model has no head that scores, as an embedding model has none")
    # Without labels a configuration means two.
    if len(config.get("id2label") or (0, 0)) != 1:
        raise NotACrossEncoder("the model gives more than one score")
    if "auto_map" in config or not all(map(_is_known, _modules_of(folder))):
        raise NotACrossEncoder("the model brings code of its own")
    names = {path.name for path in folder.iterdir() if path.is_file()}
    if not any(name.endswith(WEIGHTS) for name in names):
        raise NotACrossEncoder("the model has no weights as safetensors")
    if not any(name.startswith("tokenizer") or name.endswith(".model") for name in names):
        raise NotACrossEncoder("the model has no tokenizer")


def _json_of(path: Path) -> dict[str, Any]:
    found = _read(path)
    if not isinstance(found, dict):
        raise NotACrossEncoder("the model has no configuration that can be read")
    return found


def _modules_of(folder: Path) -> list[Any]:
    found = _read(folder / MODULES) if (folder / MODULES).exists() else []
    if not isinstance(found, list):
        raise NotACrossEncoder("the model's list of modules is none")
    return found


def _is_known(module: Any) -> bool:
    return isinstance(module, dict) and str(module.get("type", "")).startswith("sentence_transformers.")


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise NotACrossEncoder("the model has no configuration that can be read") from error


def digest_of(folder: Path) -> str:
    """Return the SHA-256, hex, over the names and the contents of the files in `folder`."""
    whole = hashlib.sha256()
    for path in sorted(folder.iterdir(), key=lambda each: each.name):
        with path.open("rb") as file:
            own = hashlib.file_digest(file, "sha256").digest()
        whole.update(len(path.name).to_bytes(4, "big") + path.name.encode() + own)
    return whole.hexdigest()


class Rerankers:
    """Rerankers in a blob store, each under its digest."""

    def __init__(self, url: str) -> None:
        """`url` is a folder or any fsspec URL, such as s3://bucket/prefix."""
        self._folders = BlobFolders(url, ROOT)

    async def publish(self, folder: Path) -> str:
        """Keep the reranker in `folder`, and return its digest; the same once more changes nothing.

        Raises:
            NotACrossEncoder: it is none, or has files that are not kept.
        """
        return await asyncio.to_thread(self._publish, folder)

    async def fetch(self, digest: str, cache: Path) -> Path:
        """Return the folder of a reranker below `cache`, verified, whether it was there already or not.

        Raises:
            RerankerMissing: the store does not hold it.
            RerankerAltered: what the store holds is not what was published.
            NotACrossEncoder: it is none.
        """
        return await asyncio.to_thread(self._fetch, digest, cache)

    async def remove(self, digest: str) -> None:
        """Remove a reranker; one that is not there is removed already."""
        await asyncio.to_thread(self._folders.remove, _checked(digest))

    def _publish(self, folder: Path) -> str:
        check_cross_encoder(folder)
        for path in folder.iterdir():
            if not path.is_file() or not _is_kept(path.name):
                raise NotACrossEncoder("the model has a file that is not kept", file=path.name[:100])
        digest = digest_of(folder)
        self._folders.put(folder, digest)
        return digest

    def _fetch(self, digest: str, cache: Path) -> Path:
        folder = cache / _checked(digest)
        if folder.is_dir() and digest_of(folder) == digest:
            return folder
        shutil.rmtree(folder, ignore_errors=True)
        aside = cache / f".{uuid.uuid4().hex}"
        aside.mkdir(parents=True)
        try:
            self._download(digest, aside)
            if digest_of(aside) != digest:
                raise RerankerAltered("the reranker's files are not those of its digest", digest=digest)
            check_cross_encoder(aside)
            # Somebody may have fetched the same meanwhile.
            shutil.rmtree(folder, ignore_errors=True)
            aside.rename(folder)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        return folder

    def _download(self, digest: str, folder: Path) -> None:
        try:
            names = self._folders.names(digest)
        except FileNotFoundError as error:
            raise RerankerMissing("the blob store does not hold the reranker", digest=digest) from error
        for name in names:
            if not _is_kept(name):
                raise RerankerAltered("the reranker has a file that none has", digest=digest)
            self._folders.get(digest, name, folder)


def _checked(digest: str) -> str:
    if not DIGEST.fullmatch(digest):
        raise RerankerMissing("no reranker has such a digest")
    return digest


def _is_kept(name: str) -> bool:
    return bool(NAME.fullmatch(name)) and Path(name).suffix in SUFFIXES
