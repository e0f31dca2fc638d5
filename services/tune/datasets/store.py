"""Data sets in any store that fsspec reaches, each under its tenant and its digest; what is there never changes."""

import asyncio
import gzip
import io
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import fsspec
import orjson

from services.common.lora.store import tenant_folder
from services.tune.datasets.errors import DatasetAltered, DatasetNotFound, DatasetsUnavailable
from services.tune.datasets.rows import Kind, digest_of
from services.tune.datasets.splitting import SPLITS

if TYPE_CHECKING:
    import datasets as hf

ROOT, UPLOADS = "datasets", "uploads"
CARD, REPORT, PAGE, LINEAGE = "card.json", "report.json", "report.html", "lineage.parquet"
_DIGEST = re.compile(r"[0-9a-f]{64}")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Card:
    """What a data set is. `tokenizer` is the model whose tokens were counted, "" where characters were."""

    digest: str
    kind: Kind
    parameters: Mapping[str, Any]
    rows: Mapping[str, int]
    origins: tuple[str, ...]
    fit: bool
    reasons: tuple[str, ...]
    documents: tuple[str, ...]
    people: tuple[str, ...]
    tokenizer: str = ""


@dataclass(frozen=True, slots=True)
class Dataset:
    """A data set that was opened: its card, and its parts, "train", "validation" and "test"."""

    card: Card
    splits: Mapping[str, "hf.Dataset"]


class Datasets:
    """The data sets of all tenants.

    Every method raises DatasetsUnavailable where the store does not answer.
    """

    def __init__(self, url: str) -> None:
        """`url` is a folder or any fsspec URL, such as s3://bucket/prefix."""
        self._files, root = fsspec.core.url_to_fs(url)
        self._root = f"{root}/{ROOT}"

    async def publish(self, tenant_id: str, folder: Path) -> Card:
        """Keep what a build wrote into `folder`, and return its card; the same once more changes nothing."""
        return await asyncio.to_thread(_reached, lambda: self._publish(tenant_id, folder))

    async def card(self, tenant_id: str, digest: str) -> Card:
        """Return what a data set is.

        Raises:
            DatasetNotFound: the tenant has none such.
        """
        return card_of(orjson.loads(await self.file(tenant_id, digest, CARD)))

    async def file(self, tenant_id: str, digest: str, name: str) -> bytes:
        """Return a file of a data set.

        Raises:
            DatasetNotFound: the tenant has none such.
        """
        return await asyncio.to_thread(_reached, lambda: self._read(tenant_id, digest, name))

    async def open(self, tenant_id: str, digest: str) -> Dataset:
        """Return a data set with its rows, which are held against its digest.

        Raises:
            DatasetNotFound: the tenant has none such.
            DatasetAltered: the store holds others than were published.
        """
        return await asyncio.to_thread(_reached, lambda: self._open(tenant_id, digest))

    async def rows(self, tenant_id: str, digest: str, split: str, start: int, count: int) -> list[dict[str, Any]]:
        """Return at most `count` rows of a part, from the row `start` on, 0 being the first.

        Raises:
            DatasetNotFound: the tenant has none such.
        """
        return await asyncio.to_thread(_reached, lambda: self._rows(tenant_id, digest, split, start, count))

    async def remove(self, tenant_id: str, digest: str) -> None:
        """Remove a data set; one that is not there is removed already."""
        await asyncio.to_thread(_reached, lambda: self._remove(self._folder(tenant_id, digest)))

    async def remove_all(self, tenant_id: str) -> None:
        """Remove everything of a tenant."""
        await asyncio.to_thread(_reached, lambda: self._remove(self._tenant(tenant_id)))

    async def put_upload(self, tenant_id: str, key: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Keep rows that were sent until they are built from."""
        await asyncio.to_thread(_reached, lambda: self._put_upload(tenant_id, key, rows))

    async def upload(self, tenant_id: str, key: str) -> bytes:
        """Return rows that were sent, a JSON object a line.

        Raises:
            DatasetNotFound: they are gone.
        """
        return await asyncio.to_thread(
            _reached, lambda: gzip.decompress(self._cat(f"{self._tenant(tenant_id)}/{UPLOADS}/{key}"))
        )

    async def remove_upload(self, tenant_id: str, key: str) -> None:
        """Remove rows that were sent; those that are not there are removed already."""
        await asyncio.to_thread(_reached, lambda: self._remove(f"{self._tenant(tenant_id)}/{UPLOADS}/{key}"))

    def _publish(self, tenant_id: str, folder: Path) -> Card:
        card = card_of(orjson.loads((folder / CARD).read_bytes()))
        target = self._folder(tenant_id, card.digest)
        self._files.makedirs(target, exist_ok=True)
        # The card comes last: where it is, everything is.
        for name in (*(f"{split}.parquet" for split in SPLITS), LINEAGE, REPORT, PAGE, CARD):
            self._write(f"{target}/{name}", (folder / name).read_bytes())
        return card

    def _open(self, tenant_id: str, digest: str) -> Dataset:
        import datasets as hf  # noqa: PLC0415 - takes seconds, and who serves does without
        import pyarrow as pa  # noqa: PLC0415
        import pyarrow.parquet as pq  # noqa: PLC0415

        files = {name: self._read(tenant_id, digest, f"{name}.parquet") for name in SPLITS}
        card = card_of(orjson.loads(self._read(tenant_id, digest, CARD)))
        try:
            splits = {name: hf.Dataset(pq.read_table(io.BytesIO(content))) for name, content in files.items()}
        except pa.ArrowException as error:
            raise DatasetAltered("the data set's rows cannot be read", dataset=digest) from error
        if card.digest != digest or digest_of(card.kind, card.parameters, splits) != digest:
            raise DatasetAltered("the data set's rows are not those of its digest", dataset=digest)
        return Dataset(card, splits)

    def _rows(self, tenant_id: str, digest: str, split: str, start: int, count: int) -> list[dict[str, Any]]:
        import pyarrow.parquet as pq  # noqa: PLC0415 - not needed before somebody reads rows

        table = pq.read_table(io.BytesIO(self._read(tenant_id, digest, f"{split}.parquet")))
        found: list[dict[str, Any]] = table.slice(start, count).to_pylist()
        return found

    def _put_upload(self, tenant_id: str, key: str, rows: Sequence[Mapping[str, Any]]) -> None:
        folder = f"{self._tenant(tenant_id)}/{UPLOADS}"
        self._files.makedirs(folder, exist_ok=True)
        self._write(f"{folder}/{key}", gzip.compress(b"\n".join(map(orjson.dumps, rows)), 1))

    def _read(self, tenant_id: str, digest: str, name: str) -> bytes:
        return self._cat(f"{self._folder(tenant_id, digest)}/{name}")

    def _cat(self, path: str) -> bytes:
        try:
            content: bytes = self._files.cat_file(path)
        except FileNotFoundError as error:
            raise DatasetNotFound("there is no such data set") from error
        return content

    def _write(self, path: str, content: bytes) -> None:
        # Written aside and moved, so that a file that is there is whole.
        aside = f"{path}.{uuid.uuid4().hex}"
        self._files.pipe_file(aside, content)
        self._files.mv(aside, path)

    def _remove(self, path: str) -> None:
        if self._files.exists(path):
            self._files.rm(path, recursive=True)

    def _folder(self, tenant_id: str, digest: str) -> str:
        if not _DIGEST.fullmatch(digest):
            raise DatasetNotFound("there is no such data set")
        return f"{self._tenant(tenant_id)}/{digest}"

    def _tenant(self, tenant_id: str) -> str:
        return f"{self._root}/{tenant_folder(tenant_id)}"


def card_of(record: Mapping[str, Any]) -> Card:
    """Return a card from JSON."""
    lists = {name: tuple(record[name]) for name in ("origins", "reasons", "documents", "people")}
    return Card(**{**record, **lists, "kind": Kind(record["kind"])})


def card_record(card: Card) -> dict[str, Any]:
    """Return a card as JSON has it."""
    return asdict(card)


def _reached(work: Callable[[], T]) -> T:
    try:
        return work()
    except OSError as error:
        raise DatasetsUnavailable("the store of data sets does not answer") from error
