"""Adapters from outside: copied from allowed places, and refused with the reason where they are none."""

import json
import pickle

import pytest

from services.common.identity import system
from services.common.lora.checks import BaseModel
from services.common.lora.errors import InvalidAdapter
from services.common.lora.places import NothingThere, Places, checked_files
from tests.tiny_adapter import BASE, MODULE, WIDTH, write_adapter

ACME = system("acme", "test")
MODEL = BaseModel(BASE, {f"{MODULE}.weight": (WIDTH, WIDTH)}, max_rank=4)
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


@pytest.fixture
def target(tmp_path):
    (tmp_path / "target").mkdir()
    return tmp_path / "target"


def taken(source, target, places=Places(("file", "memory"))):  # noqa: B008 - a value that never changes
    places.copy(ACME, str(source), target)
    return checked_files(target, MODEL)


def test_an_adapter_is_copied_with_its_lineage_and_nothing_else(tmp_path, target):
    source = write_adapter(tmp_path / "source")
    (source / "lineage.json").write_text(json.dumps({"documents": ["d1"], "users": ["user:ada"]}))
    (source / "optimizer.pt").write_bytes(b"state")
    rank, lineage = taken(source, target)
    assert (rank, lineage.documents, lineage.users) == (2, ("d1",), ("user:ada",))
    assert {path.name for path in target.iterdir()} == {CONFIG, WEIGHTS, "lineage.json"}


def refusal(source, target, **named):
    with pytest.raises(InvalidAdapter) as refused:
        taken(source, target, **named)
    return str(refused.value)


def test_another_base_model_is_refused(tmp_path, target):
    source = write_adapter(tmp_path / "source", base_model_name_or_path="other")
    assert refusal(source, target) == "trained on another base model"


def test_too_high_a_rank_is_refused(tmp_path, target):
    assert refusal(write_adapter(tmp_path / "source", rank=8), target) == "the rank is too high"


def test_truncated_weights_are_refused(tmp_path, target):
    source = write_adapter(tmp_path / "source")
    whole = (source / WEIGHTS).read_bytes()
    (source / WEIGHTS).write_bytes(whole[: len(whole) // 2])
    assert refusal(source, target) == "a file of the adapter is broken"


def test_a_pickle_is_refused_and_never_read(tmp_path, target):
    source = write_adapter(tmp_path / "source")
    (source / WEIGHTS).unlink()
    (source / "adapter_model.bin").write_bytes(pickle.dumps({}))
    assert "pickle" in refusal(source, target)
    assert not any(target.iterdir())


def test_a_configuration_that_is_none_is_refused(tmp_path, target):
    source = write_adapter(tmp_path / "source")
    (source / CONFIG).write_text("{")
    assert refusal(source, target) == "a file of the adapter is broken"
    (source / CONFIG).write_text("[]")
    assert refusal(source, target) == "the configuration is not a LoRA's"


def test_a_missing_file_is_named(tmp_path, target):
    source = write_adapter(tmp_path / "source")
    (source / CONFIG).unlink()
    assert refusal(source, target) == "a file of the adapter is missing"


def test_nothing_is_told_from_something(tmp_path, target):
    with pytest.raises(NothingThere):
        taken(tmp_path / "nowhere", target)


@pytest.mark.parametrize("uri", ["http://host/adapter", "simplecache::file:///x", "", "a\0b"])
def test_other_kinds_of_urls_are_not_read(uri, target):
    assert refusal(uri, target) == "adapters are not read from such a place"


def test_a_tenant_reads_below_its_own_roots_only(tmp_path, target):
    places = Places(("file",), (f"{tmp_path}/{{tenant}}/",))
    own, other = write_adapter(tmp_path / "acme/one"), write_adapter(tmp_path / "rival/one")
    assert taken(own, target, places=places)[0] == 2
    for uri in (other, f"{tmp_path}/acme/../rival/one"):
        assert refusal(uri, target, places=places) == "the tenant's adapters are not read from such a place"
