"""Writes what a build made into a folder, through the `datasets` library, as the store keeps it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets as hf
import orjson

from services.tune.datasets.page import page_of
from services.tune.datasets.rows import COMMON, OWN, Kind, Row, columns_of, record_of
from services.tune.datasets.store import CARD, LINEAGE, PAGE, REPORT, Card, card_record

_TEXT, _TEXTS = hf.Value("string"), hf.List(hf.Value("string"))
_FEATURES = {
    **dict.fromkeys((*COMMON, "completion", "chosen", "rejected"), _TEXT),
    "history": hf.List({"question": _TEXT, "answer": _TEXT}),
    "passages": hf.List({"document_id": _TEXT, "title": _TEXT, "text": _TEXT}),
    "documents": _TEXTS,
    "raters": _TEXTS,
    "answers": _TEXTS,
    "weight": hf.Value("float64"),
    "label": hf.Value("bool"),
    "answerable": hf.Value("bool"),
}
_LINEAGE = hf.Features({"id": _TEXT, "split": _TEXT, "documents": _TEXTS, "interactions": _TEXTS, "people": _TEXTS})


def write(folder: Path, card: Card, splits: Mapping[str, Sequence[Row]], report: Mapping[str, Any]) -> None:
    """Write a data set's files into `folder`, which is there."""
    hf.disable_progress_bars()
    for name, rows in splits.items():
        records = [record_of(row, columns_of(card.kind)) for row in rows]
        table_of(records, features_of(card.kind)).to_parquet(folder / f"{name}.parquet")
    lineage = [
        {
            "id": row.id,
            "split": name,
            "documents": list(row.documents),
            "interactions": list(row.interactions),
            "people": list(row.people),
        }
        for name, rows in splits.items()
        for row in rows
    ]
    table_of(lineage, _LINEAGE).to_parquet(folder / LINEAGE)
    (folder / REPORT).write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2))
    (folder / PAGE).write_text(page_of(report))
    (folder / CARD).write_bytes(orjson.dumps(card_record(card), option=orjson.OPT_SORT_KEYS))


def features_of(kind: Kind) -> hf.Features:
    """Return the columns of a kind's files, with their types."""
    return hf.Features({name: _FEATURES[name] for name in (*COMMON, *OWN[kind])})


def table_of(records: Sequence[Mapping[str, Any]], features: hf.Features) -> hf.Dataset:
    """Return records as a table that has every column of `features`, also where there are none."""
    return hf.Dataset.from_dict({name: [each[name] for each in records] for name in features}, features=features)
