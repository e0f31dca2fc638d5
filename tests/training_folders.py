"""Folders for a training process to learn small data sets in, and data sets as a build keeps them."""

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from services.tune.datasets.rows import Kind, digest_of
from services.tune.datasets.splitting import SPLITS
from services.tune.datasets.store import CARD, ROOT, Card, card_record
from services.tune.datasets.writing import features_of, table_of
from services.tune.domain.hyperparameters import Method, defaults, resolved
from services.tune.training.spec import Layout, Spec
from tests.integration.generate.tiny_model import NAME
from tests.training_rows import ROWS, rows

QUICK = {"batch_size": 4, "micro_batch": 2, "learning_rate": 5e-3, "epochs": 1, "rank": 4}
QUICK_ONLINE = QUICK | {"generations": 2, "answer_tokens": 4}


def write_rows(path: Path, found: list[dict[str, object]]) -> Path:
    pq.write_table(pa.Table.from_pylist(found), path)
    return path


def training_folder(
    folder: Path, model: Path, method: Method, overrides: Mapping[str, float] | None = None, **spec: object
) -> Layout:
    """A folder with everything that a training process needs, and nothing that it makes."""
    folder.mkdir(parents=True)
    layout, quick = Layout(folder), QUICK_ONLINE if method is Method.GRPO else QUICK
    write_rows(layout.rows, rows(method, 4 if method is Method.GRPO else ROWS))
    numbers = resolved(defaults(method, 1_000_000, ROWS), quick | (overrides or {}), 16)
    fields = {"seed": 7, "threads": 1, "checkpoint_steps": 1} | spec
    layout.write(Spec(method=method, base=str(model), base_name=NAME, hyperparameters=numbers, **fields))
    return layout


def write_dataset(
    blobs: Path, tenant_id: str, method: Method, *, fit: bool = True, found: list[dict[str, object]] | None = None
) -> str:
    """Keep a data set as a build does, with the same rows to learn from and to test on, and return its digest."""
    kind, found = Kind(method.value), rows(method) if found is None else found
    splits = {name: [] if name == "validation" else found for name in SPLITS}
    parameters = {"fit": fit}
    tables = {name: table_of(each, features_of(kind)) for name, each in splits.items()}
    digest = digest_of(kind, parameters, tables)
    folder = blobs / ROOT / sha256(tenant_id.encode()).hexdigest() / digest
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        table.to_parquet(folder / f"{name}.parquet")
    counts, reasons = {name: len(each) for name, each in splits.items()}, () if fit else ("20 rows are needed",)
    card = Card(digest, kind, parameters, counts, ("upload",), fit, reasons, (), ("user:asker",))
    (folder / CARD).write_bytes(orjson.dumps(card_record(card)))
    return digest
