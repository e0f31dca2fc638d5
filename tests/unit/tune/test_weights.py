"""How far apart two adapters are: by what they do to the model, not by how they are written."""

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from services.tune.adapters.weights import distances
from tests.tiny_adapter import MODULE, write_adapter

WEIGHTS = "adapter_model.safetensors"


def change(folder, scale):
    tensors = load_file(folder / WEIGHTS)
    a, b = (tensors[f"base_model.model.{MODULE}.lora_{side}.weight"] for side in ("A", "B"))
    return scale * b @ a


def test_the_distance_is_that_of_the_changes_multiplied_out(tmp_path):
    left, right = write_adapter(tmp_path / "left", seed=1), write_adapter(tmp_path / "right", seed=2, rank=3)
    [found] = distances(left, right)
    ours, theirs = change(left, 8 / 2), change(right, 8 / 3)
    norms = np.linalg.norm(ours), np.linalg.norm(theirs)
    assert found.module == MODULE
    assert (found.left_norm, found.right_norm) == pytest.approx(norms)
    assert found.distance == pytest.approx(np.linalg.norm(ours - theirs) / max(norms))
    assert found.cosine == pytest.approx(np.sum(ours * theirs) / (norms[0] * norms[1]))


def test_the_same_change_written_otherwise_is_no_distance(tmp_path):
    left = write_adapter(tmp_path / "left")
    right = write_adapter(tmp_path / "right", lora_alpha=16)
    tensors = load_file(right / WEIGHTS)
    tensors[f"base_model.model.{MODULE}.lora_B.weight"] /= 2
    save_file(tensors, right / WEIGHTS)
    [found] = distances(left, right)
    assert found.distance == pytest.approx(0, abs=1e-6)
    assert found.cosine == pytest.approx(1)


def test_a_module_that_one_of_them_leaves_alone_is_wholly_apart(tmp_path):
    left, right = write_adapter(tmp_path / "left"), write_adapter(tmp_path / "right")
    tensors = load_file(right / WEIGHTS)
    save_file({name.replace("q_proj", "v_proj"): each for name, each in tensors.items()}, right / WEIGHTS)
    q, v = distances(left, right)
    assert (q.right_norm, q.distance, q.cosine) == (0, 1, 0)
    assert (v.left_norm, v.distance, v.cosine) == (0, 1, 0)


@pytest.mark.parametrize(
    ("config", "scale"), [({"use_rslora": True}, 8 / 2**0.5), ({"alpha_pattern": {"q_proj": 2}}, 2 / 2)]
)
def test_pefts_other_scales_are_known(tmp_path, config, scale):
    left = write_adapter(tmp_path / "left", **config)
    [found] = distances(left, left)
    assert found.left_norm == pytest.approx(np.linalg.norm(change(left, scale)))
