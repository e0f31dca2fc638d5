"""Data sets as runs learn from them and as the gate measures on them."""

import asyncio
from pathlib import Path

from services.tune.datasets.store import Datasets
from services.tune.domain.adapter_runs import DatasetCard
from services.tune.gate.ports import Rows

TRAIN, TEST = "train", "test"


class StoredTrainingData:
    """TrainingData in the store of data sets."""

    def __init__(self, datasets: Datasets) -> None:
        self._datasets = datasets

    async def card(self, tenant_id: str, digest: str) -> DatasetCard:
        found = await self._datasets.card(tenant_id, digest)
        return DatasetCard(found.digest, found.kind.value, found.fit, found.reasons, found.people)

    async def fetch(self, tenant_id: str, digest: str, file: Path) -> None:
        opened = await self._datasets.open(tenant_id, digest)
        aside = file.with_name(f"{file.name}.part")
        await asyncio.to_thread(opened.splits[TRAIN].to_parquet, aside)
        aside.rename(file)


class StoredHeldOut:
    """A HeldOut in the store of data sets."""

    def __init__(self, datasets: Datasets) -> None:
        self._datasets = datasets

    async def test(self, tenant_id: str, dataset: str) -> Rows:
        opened = await self._datasets.open(tenant_id, dataset)
        return Rows(opened.card.kind.value, await asyncio.to_thread(opened.splits[TEST].to_list))
