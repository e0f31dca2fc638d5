"""Training on a tiny model with the real tokenizer: each method, the same again, killed, and on two devices."""

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from services.common.lora.checks import BaseModel, check_config, check_tensors
from services.common.lora.safetensors import shapes_in
from services.common.lora.store import CONFIG, WEIGHTS, digest_of
from services.common.models.folder import weight_shapes
from services.tune.domain.hyperparameters import Method
from services.tune.training.checkpoints import last_checkpoint
from services.tune.training.learning import learn
from services.tune.training.spec import PROBE
from tests.integration.generate.tiny_model import NAME, write_model
from tests.training_folders import training_folder, write_rows
from tests.training_rows import rows

pytestmark = pytest.mark.timeout(900)
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join((str(Path.cwd()), str(Path.cwd() / "gen")))}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def sft(model, tmp_path_factory):
    """A training that nobody disturbed."""
    layout = training_folder(tmp_path_factory.mktemp("sft") / "run", model, Method.SFT)
    with as_before():
        learn(layout, 1)
    return layout


@pytest.fixture(autouse=True)
def undisturbed():
    with as_before():
        yield


@contextlib.contextmanager
def as_before():
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(mode=False)
        torch.set_num_threads(threads)


def check_loadable(layout, model):
    """The engine's own checks."""
    base = BaseModel(NAME, weight_shapes(model), 16)
    rank = check_config(json.loads((layout.adapter / CONFIG).read_bytes()), base)
    check_tensors(shapes_in(layout.adapter / WEIGHTS), rank, base)


def has_learnt(layout):
    return any(each.abs().max() > 0 for name, each in load_file(layout.adapter / WEIGHTS).items() if "lora_B" in name)


def test_sft_makes_an_adapter_that_the_engine_loads_with_a_probe_that_tells_it_from_the_base(sft, model):
    check_loadable(sft, model)
    assert has_learnt(sft)
    probe = json.loads((sft.adapter / PROBE).read_bytes())
    assert [len(probe[name]) for name in ("completion", "logprobs", "base_logprobs")] == [16, 16, 16]
    assert sum(probe["logprobs"]) > sum(probe["base_logprobs"])
    told = json.loads(sft.progress.read_bytes())
    assert (told["stage"], told["step"], told["steps"]) == ("training", 4, 4)
    assert told["loss"] > 0


def test_the_same_seed_makes_the_same_adapter_byte_for_byte_and_another_seed_another(sft, model, tmp_path):
    for name, seed in (("same", 7), ("other", 8)):
        layout = training_folder(tmp_path / name, model, Method.SFT, seed=seed)
        learn(layout, 1)
        assert (digest_of(layout.adapter) == digest_of(sft.adapter)) is (seed == 7)
        same_probe = (layout.adapter / PROBE).read_bytes() == (sft.adapter / PROBE).read_bytes()
        assert same_probe is (seed == 7)


def test_what_was_killed_goes_on_from_its_checkpoint_to_the_same_adapter(sft, model, tmp_path):
    layout = training_folder(tmp_path / "run", model, Method.SFT)
    command = [sys.executable, "-m", "services.tune.training", str(layout.folder)]
    with (tmp_path / "log").open("wb") as log, subprocess.Popen(command, env=ENVIRONMENT, stdout=log, stderr=log) as it:
        while last_checkpoint(layout.checkpoints) is None:
            assert it.poll() is None, (tmp_path / "log").read_text()[-3000:]
            time.sleep(0.01)
        it.kill()
    assert not layout.adapter.exists()
    learn(layout, 1)
    assert digest_of(layout.adapter) == digest_of(sft.adapter)


@pytest.mark.parametrize("method", [Method.DPO, Method.KTO])
def test_preferences_are_learnt_beside_the_adapter_that_is_begun_from(method, sft, model, tmp_path):
    layout = training_folder(tmp_path / "run", model, method, parent=True)
    sft.adapter.rename(layout.parent)
    try:
        learn(layout, 1)
    finally:
        layout.parent.rename(sft.adapter)
    check_loadable(layout, model)
    before, after = load_file(sft.adapter / WEIGHTS), load_file(layout.adapter / WEIGHTS)
    assert before.keys() == after.keys()
    assert any(not torch.equal(before[name], after[name]) for name in before)
    # It begins as the parent is: nothing is far from it after few steps.
    assert all(torch.allclose(before[name], after[name], atol=0.1) for name in before)


def test_answers_of_its_own_are_rewarded_by_rules_and_by_what_people_prefer(model, tmp_path):
    layout = training_folder(tmp_path / "run", model, Method.GRPO, rewards=True)
    write_rows(layout.preferences, rows(Method.DPO))
    learn(layout, 1)
    check_loadable(layout, model)
    told = json.loads(layout.result.read_bytes())
    assert 0 <= told["reward_accuracy"] <= 1
    assert told["steps"] == 2


def test_two_devices_train_one_adapter_under_torchrun(model, tmp_path):
    layout = training_folder(tmp_path / "run", model, Method.SFT, {"batch_size": 8})
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command = [*launcher, "-m", "services.tune.training", str(layout.folder)]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=800, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    check_loadable(layout, model)
    told = json.loads(layout.result.read_bytes())
    assert (told["devices"], told["steps"]) == (2, 2)
