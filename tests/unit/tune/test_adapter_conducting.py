"""An adapter run from its data set to an adapter that is signed, judged and registered, and what is left of others."""

import json
from datetime import UTC, datetime

import pytest
import torch
from safetensors.torch import save_file

from services.common.identity import Identity
from services.common.lora.errors import AdapterMissing
from services.common.lora.signing import AdapterSigner, AdapterVerifier
from services.common.lora.store import LINEAGE, AdapterStore
from services.tune.adapter_conducting import AdapterConductor, Engine, Jury, Publishing
from services.tune.adapters.memory import MemoryAdapterTrainer, MemoryGate, MemoryRegistry
from services.tune.adapters.training_data import StoredTrainingData
from services.tune.datasets.errors import DatasetNotFound
from services.tune.datasets.store import Datasets
from services.tune.domain.adapter_runs import AdapterOrder, AdapterTraining
from services.tune.domain.errors import (
    DatasetNotFit,
    ParentNotFit,
    RunEnded,
    ServiceUnavailable,
)
from services.tune.domain.hyperparameters import Method
from services.tune.domain.runs import Origin, Run, RunState
from services.tune.training.spec import Layout
from tests.training_folders import write_dataset
from tests.training_rows import rows

ADA = Identity("acme", "user:ada", ("everyone", "user:ada"))
NOW = datetime(2026, 11, 30, tzinfo=UTC)
SIGNER = AdapterSigner("c3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3M=")


class Told:
    """Keeps what it hears; from `ends_at` on the run has ended."""

    def __init__(self, ends_at=""):
        self.stages, self.steps, self.numbers = [], [], {}
        self._ends_at = ends_at

    async def __call__(self, stage, progress):
        self.stages.append((stage, progress))
        if (stage, progress) == self._ends_at:
            raise RunEnded

    async def advance(self, stage, step):
        self.steps.append(step)

    async def resolve(self, hyperparameters):
        self.numbers = hyperparameters


class AwayGate(MemoryGate):
    async def judge(self, candidate, told):
        raise ServiceUnavailable("nobody answers")


class World:
    def __init__(self, folder, gate=None):
        self.folder, self.blobs = folder, folder / "blobs"
        self.trainer, self.gate, self.registry = MemoryAdapterTrainer(), gate or MemoryGate(), MemoryRegistry()
        self.store = AdapterStore(str(self.blobs))
        self.verifier = AdapterVerifier([SIGNER.public_key])
        self.serves("Small-Llama")

    def serves(self, name):
        """Train for another model from now on."""
        model = self.folder / name
        model.mkdir()
        save_file({"layer.weight": torch.zeros(4, 4)}, model / "model.safetensors")
        self.conductor = AdapterConductor(
            Engine({"small": str(model)}, self.folder / "cache", 1024, "Be brief.", 8),
            StoredTrainingData(Datasets(str(self.blobs))),
            self.trainer,
            Publishing(self.store, SIGNER, self.verifier),
            Jury(self.gate, self.registry),
        )

    def order(self, method=Method.SFT, **fields):
        dataset = fields.pop("dataset", None) or write_dataset(self.blobs, "acme", method)
        return AdapterOrder(ADA, "", method, dataset, "small", **({"seed": 7} | fields))

    async def conduct(self, order, run_id="run1", told=None):
        training = AdapterTraining(order.method, order.dataset)
        run = Run("acme", run_id, RunState.RUNNING, "user:ada", "small", Origin.DATASET, 7, NOW, training=training)
        folder = self.folder / run_id
        folder.mkdir(exist_ok=True)
        return await self.conductor.conduct(run, order, folder, told or Told(), lambda: NOW)

    async def fetched(self, digest):
        return await self.store.fetch("acme", digest, self.folder / "fetched", self.verifier)


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


async def test_an_adapter_is_signed_judged_and_registered_with_what_it_learnt_from(world):
    order, told = world.order(golden_set="faq", alias="support", overrides={"epochs": 2.0}), Told()
    made = await world.conduct(order, told=told)
    folder, card = await world.fetched(made.digest)
    assert (card.base_model, card.rank, card.method, card.dataset) == ("Small-Llama", 8, "sft", order.dataset)
    assert (card.run_id, card.seed, card.parent, card.created_at) == ("run1", 7, "", NOW.isoformat())
    assert card.probe.logprobs == (-1.0,)
    assert json.loads((folder / LINEAGE).read_bytes())["users"] == ["user:asker", "user:rater-0", "user:rater-1"]
    [candidate] = world.gate.judged
    assert (candidate.digest, candidate.golden_set, candidate.alias) == (made.digest, "faq", "support")
    assert world.registry.entries == {("acme", made.digest): made}
    assert (made.owner, made.lineage.documents[:2]) == ("user:ada", ("d0", "d1"))
    assert (told.numbers["epochs"], told.numbers["rank"]) == (2, 8)
    stages = list(dict.fromkeys(stage for stage, _ in told.stages))
    assert stages == ["preparing", "publishing", "judging"]


async def test_the_process_is_told_what_the_engine_does(world):
    await world.conduct(world.order())
    spec = Layout(world.folder / "run1").read()
    assert (spec.context_tokens, spec.instructions, spec.base_name) == (1024, "Be brief.", "Small-Llama")
    assert spec.hyperparameters.rank == 8


async def test_who_goes_on_trains_nothing_twice(world):
    await world.conduct(order := world.order())
    await world.conduct(order)
    assert len(world.trainer.trained) == 1


async def test_an_adapter_knows_what_its_parent_and_its_rewards_learnt_from(world):
    parent = await world.conduct(world.order())
    preferred = [{**row, "documents": ["d-liked"], "raters": ["user:liker"]} for row in rows(Method.DPO)]
    order = world.order(
        Method.GRPO,
        parent=parent.digest,
        reward_dataset=write_dataset(world.blobs, "acme", Method.DPO, found=preferred),
    )
    made = await world.conduct(order, "run2")
    assert made.parent == parent.digest
    assert set(made.lineage.people) == {"user:asker", "user:liker", "user:rater-0", "user:rater-1"}
    assert {"d-liked", "d15"} <= set(made.lineage.documents)


async def test_an_adapter_of_another_model_is_nothing_to_begin_from(world):
    parent = await world.conduct(world.order())
    world.serves("Other-Llama")
    with pytest.raises(ParentNotFit, match="another base model"):
        await world.conduct(world.order(parent=parent.digest), "run2")


async def test_what_nobody_could_judge_is_not_left_in_the_store(tmp_path):
    world = World(tmp_path, AwayGate())
    with pytest.raises(ServiceUnavailable):
        await world.conduct(world.order())
    assert not world.registry.entries
    assert not list(world.blobs.glob("adapters/*/*"))


async def test_a_run_that_is_ended_while_it_is_judged_registers_nothing(world):
    with pytest.raises(RunEnded):
        await world.conduct(world.order(), told=Told(ends_at=("publishing", 1.0)))
    assert not world.registry.entries
    assert not list(world.blobs.glob("adapters/*/*"))


async def test_ending_a_run_leaves_the_adapter_that_an_earlier_one_made_of_the_same(world):
    first = await world.conduct(order := world.order())
    with pytest.raises(RunEnded):
        await world.conduct(order, "run2", Told(ends_at=("publishing", 1.0)))
    folder, _ = await world.fetched(first.digest)
    assert folder.is_dir()


async def test_data_that_is_not_fit_or_not_there_is_not_learnt_from(world):
    unfit = write_dataset(world.blobs, "acme", Method.SFT, fit=False)
    foreign = write_dataset(world.blobs, "rival", Method.KTO)
    for order, error in (
        (world.order(dataset=unfit), DatasetNotFit),
        (world.order(dataset=foreign), DatasetNotFound),
        (world.order(Method.DPO, dataset=write_dataset(world.blobs, "acme", Method.SFT)), DatasetNotFit),
        (world.order(parent=f"sha256:{'0' * 64}"), ParentNotFit),
    ):
        with pytest.raises(error):
            await world.conduct(order, error.__name__)
    order = world.order()
    for file in world.blobs.glob(f"datasets/*/{order.dataset}/train.parquet"):
        file.unlink()
    with pytest.raises(DatasetNotFound):
        await world.conduct(order, "gone")
    with pytest.raises(AdapterMissing):
        await world.fetched(f"sha256:{'0' * 64}")
    assert not world.trainer.trained
