"""Fetching adapters: what is kept, and what never reaches the engine."""

import hashlib
import json
import pickle
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import fsspec
import numpy as np
import pytest

from services.common.identity import Identity
from services.common.lora.checks import Lineage
from services.common.lora.errors import InvalidAdapter
from services.common.lora.places import NothingThere
from services.generate.adapters.files import AdapterFiles
from tests.unit.generate.adapters import BASE, config, tensors, write

ADA = Identity("acme", "user:ada", ())
OWN = hashlib.sha256(b"acme").hexdigest()


@pytest.fixture
def files(tmp_path):
    return AdapterFiles(tmp_path / "cache", BASE, ("file", "memory"))


def test_the_digest_is_that_of_configuration_and_weights_together(files, tmp_path):
    folder = write(tmp_path / "a")
    content = b"".join((folder / name).read_bytes() for name in ("adapter_config.json", "adapter_model.safetensors"))
    adapter = files.fetch(ADA, str(folder))
    assert adapter.digest == f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert (adapter.rank, adapter.base_model) == (2, "Tiny-Model")


def test_the_copy_outlives_the_original(files, tmp_path):
    folder = write(tmp_path / "a")
    adapter = files.fetch(ADA, f"file://{folder}")
    (folder / "adapter_model.safetensors").unlink()
    assert Path(adapter.folder).is_relative_to(tmp_path / "cache" / "adapters" / OWN)
    copied = {path.name for path in Path(adapter.folder).iterdir()}
    assert copied == {"adapter_config.json", "adapter_model.safetensors"}


def test_the_same_adapter_is_kept_once_and_nothing_is_left_beside_it(files, tmp_path):
    write(tmp_path / "a")
    first, second = files.fetch(ADA, str(tmp_path / "a")), files.fetch(ADA, str(tmp_path / "a"))
    assert first == second
    assert len(list((tmp_path / "cache" / "adapters" / OWN).iterdir())) == 1


def test_fetching_the_same_at_once_is_no_quarrel(files, tmp_path):
    write(tmp_path / "a")
    with ThreadPoolExecutor(8) as pool:
        fetched = list(pool.map(partial(files.fetch, ADA), [str(tmp_path / "a")] * 24))
    assert len(set(fetched)) == 1
    assert len(list((tmp_path / "cache" / "adapters" / OWN).iterdir())) == 1


def test_any_store_that_fsspec_reads_will_do(files, tmp_path):
    folder = write(tmp_path / "a")
    store = fsspec.filesystem("memory")
    store.put(str(folder), "/bucket/a", recursive=True)
    assert files.fetch(ADA, "memory://bucket/a") == files.fetch(ADA, str(folder))


@pytest.mark.parametrize("uri", ["/nowhere/at/all", "memory://nothing-here"])
def test_where_nothing_is_nothing_is_found(files, uri):
    with pytest.raises(NothingThere):
        files.fetch(ADA, uri)


def test_an_empty_folder_holds_nothing(files, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(NothingThere):
        files.fetch(ADA, str(tmp_path / "empty"))


@pytest.mark.parametrize(
    "uri", ["", "http://127.0.0.1/a", "simplecache::file:///tmp/a", "nonsense://x", "file:///tmp/\0a", "ftp://x/y"]
)
def test_only_the_named_kinds_of_place_are_read(files, uri):
    with pytest.raises(InvalidAdapter):
        files.fetch(ADA, uri)


@pytest.mark.parametrize("name", ["adapter_model.bin", "adapter_model.pt"])
def test_a_pickle_is_refused_unread(files, tmp_path, name):
    folder = write(tmp_path / "a")
    (folder / "adapter_model.safetensors").unlink()
    (folder / name).write_bytes(pickle.dumps({}))
    with pytest.raises(InvalidAdapter, match="pickle"):
        files.fetch(ADA, str(folder))


def test_a_pickle_that_is_called_safetensors_is_refused(files, tmp_path):
    folder = write(tmp_path / "a")
    (folder / "adapter_model.safetensors").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(InvalidAdapter):
        files.fetch(ADA, str(folder))


@pytest.mark.parametrize("missing", ["adapter_config.json", "adapter_model.safetensors"])
def test_half_an_adapter_is_refused(files, tmp_path, missing):
    folder = write(tmp_path / "a")
    (folder / missing).unlink()
    with pytest.raises(InvalidAdapter, match="missing"):
        files.fetch(ADA, str(folder))


@pytest.mark.parametrize("length", [0, 4, 8, 100, -1])
def test_a_truncated_file_is_refused_and_not_kept(files, tmp_path, length):
    weights = write(tmp_path / "a") / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:length])
    with pytest.raises(InvalidAdapter):
        files.fetch(ADA, str(tmp_path / "a"))
    assert not list((tmp_path / "cache" / "adapters" / OWN).iterdir())


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"text"', "\x00"])
def test_a_broken_configuration_is_refused(files, tmp_path, text):
    folder = write(tmp_path / "a")
    (folder / "adapter_config.json").write_text(text)
    with pytest.raises(InvalidAdapter):
        files.fetch(ADA, str(folder))


@pytest.mark.parametrize(
    "changes",
    [
        {"peft_type": "IA3"},
        {"peft_type": None},
        {"base_model_name_or_path": "someone/Other-Model"},
        {"r": 17},
        {"r": 0},
        {"r": -1},
        {"r": True},
        {"r": "2"},
        {"r": None},
        {"rank_pattern": {"q_proj": 64}},
        {"rank_pattern": [1]},
        {"lora_alpha": None},
        {"lora_alpha": "x"},
        {"bias": "all"},
        {"use_dora": True},
        {"modules_to_save": ["lm_head"]},
        {"target_modules": ["no_such_proj"]},
        {"target_modules": None},
        {"target_modules": [1]},
    ],
)
def test_a_configuration_that_the_engine_cannot_run_is_refused(files, tmp_path, changes):
    with pytest.raises(InvalidAdapter):
        files.fetch(ADA, str(write(tmp_path / "a", config(**changes))))


@pytest.mark.parametrize(
    "changes",
    [
        {"base_model_name_or_path": None},
        {"base_model_name_or_path": ""},
        {"base_model_name_or_path": "/models/Tiny-Model.Q4_1.gguf"},
        {"base_model_name_or_path": "/cache/models/0123/Tiny-Model/"},
        {"modules_to_save": []},
        {"target_modules": "all-linear"},
        {"rank_pattern": {}},
    ],
)
def test_what_says_the_same_in_other_words_is_taken(files, tmp_path, changes):
    assert files.fetch(ADA, str(write(tmp_path / "a", config(**changes)))).rank == 2


@pytest.mark.parametrize(
    "weights",
    [
        {},
        tensors(module="model.layers.9.self_attn.q_proj"),
        tensors(module="model.norm"),
        tensors(inner=5),
        tensors(outer=9),
        tensors(rank=3),
        {"base_model.model.lm_head.weight": np.zeros((2, 2), np.float32)},
        dict(list(tensors().items())[:1]),
        tensors() | dict(list(tensors(rank=1).items())[:1]),
        {name: weight[0] for name, weight in tensors().items()},
    ],
)
def test_weights_that_do_not_fit_the_model_are_refused(files, tmp_path, weights):
    with pytest.raises(InvalidAdapter):
        files.fetch(ADA, str(write(tmp_path / "a", weights=weights)))


def test_what_is_refused_leaves_nothing_behind(files, tmp_path):
    with pytest.raises(InvalidAdapter):
        files.fetch(ADA, str(write(tmp_path / "a", config(r=99))))
    assert not list((tmp_path / "cache" / "adapters" / OWN).iterdir())


def test_a_huge_configuration_is_refused(files, tmp_path):
    folder = write(tmp_path / "a")
    (folder / "adapter_config.json").write_text(json.dumps(config(notes="x" * (1 << 20))))
    with pytest.raises(InvalidAdapter, match="large"):
        files.fetch(ADA, str(folder))


def write_lineage(folder, value):
    (write(folder) / "lineage.json").write_text(json.dumps(value))
    return str(folder)


def test_a_lineage_is_read_and_is_part_of_the_digest(files, tmp_path):
    plain = files.fetch(ADA, str(write(tmp_path / "plain")))
    told = files.fetch(ADA, write_lineage(tmp_path / "a", {"documents": ["d2", "d1", "d2"], "users": ["user:ada"]}))
    other = files.fetch(ADA, write_lineage(tmp_path / "b", {"documents": ["d1"]}))
    assert plain.lineage == Lineage()
    assert told.lineage == Lineage(("d1", "d2"), ("user:ada",))
    assert len({plain.digest, told.digest, other.digest}) == 3
    names = ("adapter_config.json", "adapter_model.safetensors", "lineage.json")
    content = b"".join((tmp_path / "a" / name).read_bytes() for name in names)
    assert told.digest == f"sha256:{hashlib.sha256(content).hexdigest()}"


@pytest.mark.parametrize(
    "lineage",
    [
        [],
        "documents",
        {"documents": "d1"},
        {"documents": [1]},
        {"documents": [""]},
        {"documents": ["a\0b"]},
        {"documents": ["x" * 257]},
        {"users": None},
        {"users": ["u"] * 10_001},
        {"document": ["a slip of the pen must not clear it"]},
    ],
)
def test_a_lineage_that_cannot_be_read_loads_nothing(files, tmp_path, lineage):
    with pytest.raises(InvalidAdapter):
        files.fetch(ADA, write_lineage(tmp_path / "a", lineage))


def test_a_tenants_files_go_and_no_others(files, tmp_path):
    bob = Identity("../acme", "user:bob", ())
    uri = str(write(tmp_path / "a"))
    files.fetch(ADA, uri)
    theirs = files.fetch(bob, uri)
    assert files.remove("acme") == 1
    assert files.remove("acme") == 0
    assert Path(theirs.folder).is_dir()
    assert not (tmp_path / "cache" / "adapters" / OWN).exists()


@pytest.mark.parametrize("uri", ["/srv/rival/x", "/srv/acme/../rival/x", "/srv/acme-too/x", ""])
def test_a_tenant_s_adapters_are_read_from_its_own_place_only(tmp_path, uri):
    files = AdapterFiles(tmp_path / "cache", BASE, ("file",), ("/srv/{tenant}/",))
    with pytest.raises(InvalidAdapter, match="such a place"):
        files.fetch(Identity("acme", "user:ada", ()), uri)
