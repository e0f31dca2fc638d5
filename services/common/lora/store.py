"""Adapters in a blob store: each tenant's apart, each under the digest of its files, with a signed card.

This is a contract between whoever trains adapters, whoever moves aliases, and whoever answers with them.
"""

import asyncio
import hashlib
import re
import shutil
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import ParamSpec, TypeVar

from services.common.folders import BlobFolders
from services.common.lora.card import Card, bytes_of, card_of
from services.common.lora.errors import AdapterAltered, AdapterMissing, InvalidAdapter
from services.common.lora.signing import AdapterSigner, AdapterVerifier

ROOT = "adapters"
CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
LINEAGE = "lineage.json"
CARD = "card.json"
SIGNATURE = "card.sig"
# What the digest is over, in this order; the first two must be there. In bytes at most.
LIMITS = {CONFIG: 1 << 20, WEIGHTS: 2 << 30, LINEAGE: 16 << 20}
_LIMITS = LIMITS | {CARD: 1 << 20, SIGNATURE: 1 << 10}
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
BLOCK_BYTES = 1 << 20

P = ParamSpec("P")
T = TypeVar("T")


def digest_of(folder: Path) -> str:
    """Return "sha256:HEX" of configuration, weights and lineage, one after the other.

    Raises:
        InvalidAdapter: configuration or weights are missing.
    """
    digest = hashlib.sha256()
    for path in _content(folder):
        with path.open("rb") as file:
            while block := file.read(BLOCK_BYTES):
                digest.update(block)
    return f"sha256:{digest.hexdigest()}"


def _content(folder: Path) -> Iterator[Path]:
    for name in LIMITS:
        path = folder / name
        if path.is_file():
            yield path
        elif name != LINEAGE:
            raise InvalidAdapter("a file of the adapter is missing", file=name)


class AdapterStore:
    """Adapters in a blob store. Every method but `uri` raises AdapterMissing where the store cannot be reached."""

    def __init__(self, url: str) -> None:
        """`url` is a folder or any fsspec URL, such as s3://bucket/prefix."""
        self._folders = BlobFolders(url, ROOT)

    def uri(self, tenant_id: str, digest: str) -> str:
        """Return where an adapter's files lie."""
        return self._folders.uri(_name(tenant_id, digest))

    async def publish(self, folder: Path, card: Card, signer: AdapterSigner) -> str:
        """Keep the adapter in `folder` for the card's tenant, with its card signed, and return its digest.

        Files of other names in `folder` are left out. The card's digest is set here. The same adapter
        once more replaces the card, which says who made it last.

        Raises:
            InvalidAdapter: a file is missing or too large.
        """
        return await asyncio.to_thread(_reached, self._publish, folder, card, signer)

    async def fetch(self, tenant_id: str, digest: str, cache: Path, verifier: AdapterVerifier) -> tuple[Path, Card]:
        """Return an adapter's folder below `cache`, verified, whether it was there already or not, and its card.

        Raises:
            AdapterMissing: the store does not hold it.
            AdapterAltered: what the store holds is not what was published, or is another tenant's.
            AdapterUntrusted: nobody whom `verifier` trusts has signed it.
        """
        return await asyncio.to_thread(_reached, self._fetch, tenant_id, digest, cache, verifier)

    async def remove(self, tenant_id: str, digest: str) -> None:
        """Remove an adapter; one that is not there is removed already."""
        await asyncio.to_thread(_reached, self._folders.remove, _name(tenant_id, digest))

    async def remove_tenant(self, tenant_id: str) -> None:
        """Remove all of a tenant's adapters."""
        await asyncio.to_thread(_reached, self._folders.remove, tenant_folder(tenant_id))

    def _publish(self, folder: Path, card: Card, signer: AdapterSigner) -> str:
        aside = folder / f".{uuid.uuid4().hex}"
        aside.mkdir()
        try:
            for path in _content(folder):
                if path.stat().st_size > LIMITS[path.name]:
                    raise InvalidAdapter("the adapter is too large", file=path.name, limit_bytes=LIMITS[path.name])
                shutil.copyfile(path, aside / path.name)
            digest = digest_of(aside)
            content = bytes_of(replace(card, digest=digest))
            (aside / CARD).write_bytes(content)
            (aside / SIGNATURE).write_bytes(signer.sign(content))
            self._folders.put(aside, _name(card.tenant_id, digest))
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        return digest

    def _fetch(self, tenant_id: str, digest: str, cache: Path, verifier: AdapterVerifier) -> tuple[Path, Card]:
        folder = cache / _name(tenant_id, digest)
        if folder.is_dir():
            try:
                return folder, _verified(folder, tenant_id, digest, verifier)
            except (AdapterAltered, InvalidAdapter, OSError):
                # The store may hold it whole.
                shutil.rmtree(folder, ignore_errors=True)
        aside = cache / f".{uuid.uuid4().hex}"
        aside.mkdir(parents=True)
        try:
            self._download(_name(tenant_id, digest), aside)
            card = _verified(aside, tenant_id, digest, verifier)
            folder.parent.mkdir(parents=True, exist_ok=True)
            aside.rename(folder)
        except OSError:
            # Somebody may have put the same there meanwhile; a folder never gives way to another.
            if not folder.is_dir():
                raise
            return folder, _verified(folder, tenant_id, digest, verifier)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        return folder, card

    def _download(self, name: str, into: Path) -> None:
        for file in self._folders.names(name):
            limit = _LIMITS.get(file)
            if limit is None or self._folders.size(name, file) > limit:
                raise AdapterAltered("the adapter has a file that none has, or one that is too large", file=file[:100])
            self._folders.get(name, file, into)


def tenant_folder(tenant_id: str) -> str:
    """Return a name for what one tenant has: whatever a tenant's id holds, it is one folder's name."""
    return hashlib.sha256(tenant_id.encode()).hexdigest()


def _name(tenant_id: str, digest: str) -> str:
    if not DIGEST.fullmatch(digest):
        raise AdapterMissing("no adapter has such a digest")
    return f"{tenant_folder(tenant_id)}/{digest.removeprefix('sha256:')}"


def _verified(folder: Path, tenant_id: str, digest: str, verifier: AdapterVerifier) -> Card:
    if {CARD, SIGNATURE} - {path.name for path in folder.iterdir()}:
        raise AdapterAltered("the adapter has no signed card", digest=digest)
    content = (folder / CARD).read_bytes()
    verifier.check(content, (folder / SIGNATURE).read_bytes())
    card = card_of(content)
    if (card.tenant_id, card.digest) != (tenant_id, digest):
        raise AdapterAltered("the card is another adapter's", digest=digest)
    try:
        found = digest_of(folder)
    except InvalidAdapter as error:
        raise AdapterAltered("a file of the adapter is missing", digest=digest) from error
    if found != digest:
        raise AdapterAltered("the adapter's files are not those of its digest", digest=digest)
    return card


def _reached(call: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    try:
        return call(*arguments, **named)
    except OSError as error:
        raise AdapterMissing("the blob store does not give the adapter", detail=type(error).__name__) from error
