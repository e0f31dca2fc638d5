"""A reranker's files: what is one, and that what is fetched is what was published."""

import json
from pathlib import Path

import pytest

from services.common.rerankers import (
    NotACrossEncoder,
    RerankerAltered,
    RerankerMissing,
    Rerankers,
    blended,
    check_cross_encoder,
    digest_of,
    text_of,
)

CONFIG = {"architectures": ["BertForSequenceClassification"], "id2label": {"0": "LABEL_0"}}


def write(folder: Path, **config: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIG | config))
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "tokenizer.json").write_text("{}")
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "made")


@pytest.fixture
def store(tmp_path: Path) -> Rerankers:
    return Rerankers(str(tmp_path / "blobs"))


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def blob(tmp_path: Path, digest: str, name: str) -> Path:
    return tmp_path / "blobs/rerankers" / digest / name


async def test_what_is_fetched_is_what_was_published(folder: Path, store: Rerankers, tmp_path: Path):
    digest = await store.publish(folder)
    fetched = await store.fetch(digest, tmp_path / "cache")
    assert files(fetched) == files(folder)
    assert await store.publish(folder) == digest
    assert await store.fetch(digest, tmp_path / "cache") == fetched


def test_a_digest_is_of_names_and_contents(folder: Path):
    before = digest_of(folder)
    (folder / "tokenizer.json").rename(folder / "tokenizer2.json")
    renamed = digest_of(folder)
    (folder / "tokenizer2.json").write_text("{} ")
    assert len({before, renamed, digest_of(folder)}) == 3


@pytest.mark.parametrize("spoilt", [b"weigh", b"Weights", b""])
async def test_what_was_altered_or_cut_off_is_refused(folder: Path, store: Rerankers, tmp_path: Path, spoilt: bytes):
    digest = await store.publish(folder)
    blob(tmp_path, digest, "model.safetensors").write_bytes(spoilt)
    with pytest.raises(RerankerAltered):
        await store.fetch(digest, tmp_path / "cache")
    assert files(tmp_path / "cache") == {}


async def test_a_file_more_or_less_is_refused(folder: Path, store: Rerankers, tmp_path: Path):
    digest = await store.publish(folder)
    blob(tmp_path, digest, "pytorch_model.bin").write_bytes(b"cos\nsystem")
    with pytest.raises(RerankerAltered):
        await store.fetch(digest, tmp_path / "cache")
    blob(tmp_path, digest, "pytorch_model.bin").unlink()
    blob(tmp_path, digest, "tokenizer.json").unlink()
    with pytest.raises(RerankerAltered):
        await store.fetch(digest, tmp_path / "cache")


async def test_what_was_altered_in_the_cache_is_fetched_again(folder: Path, store: Rerankers, tmp_path: Path):
    digest = await store.publish(folder)
    cached = await store.fetch(digest, tmp_path / "cache")
    (cached / "model.safetensors").write_bytes(b"other")
    again = await store.fetch(digest, tmp_path / "cache")
    assert (again / "model.safetensors").read_bytes() == b"weights"


@pytest.mark.parametrize("digest", ["0" * 64, "", "../../etc", "F" * 64, "a" * 63 + "\n"])
async def test_what_was_never_published_is_missing(store: Rerankers, tmp_path: Path, digest: str):
    with pytest.raises(RerankerMissing):
        await store.fetch(digest, tmp_path / "cache")


async def test_what_was_removed_is_missing(folder: Path, store: Rerankers, tmp_path: Path):
    digest = await store.publish(folder)
    await store.remove(digest)
    await store.remove(digest)
    with pytest.raises(RerankerMissing):
        await store.fetch(digest, tmp_path / "cache")


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"architectures": ["BertModel"]}, "no head that scores"),
        ({"architectures": None}, "no head that scores"),
        ({"id2label": {"0": "no", "1": "yes"}}, "more than one score"),
        ({"id2label": None}, "more than one score"),
        ({"auto_map": {"AutoModel": "evil.Model"}}, "code of its own"),
    ],
)
def test_a_model_that_is_no_cross_encoder_is_refused_with_the_reason(tmp_path: Path, config: dict, why: str):
    with pytest.raises(NotACrossEncoder, match=why):
        check_cross_encoder(write(tmp_path / "model", **config))


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_folder_without_a_part_is_refused(folder: Path, missing: str):
    (folder / missing).unlink()
    with pytest.raises(NotACrossEncoder):
        check_cross_encoder(folder)


@pytest.mark.parametrize("modules", ['[{"type": "os.path"}]', "{}", "[1]", "no JSON"])
def test_modules_of_others_are_refused(folder: Path, modules: str):
    (folder / "modules.json").write_text(modules)
    with pytest.raises(NotACrossEncoder):
        check_cross_encoder(folder)


@pytest.mark.parametrize("name", ["weights.bin", "model.py", ".hidden.json", "x.pkl"])
async def test_files_that_could_run_are_not_published(folder: Path, store: Rerankers, name: str):
    (folder / name).write_bytes(b"")
    with pytest.raises(NotACrossEncoder):
        await store.publish(folder)


def test_a_blend_stretches_both_scores_and_weighs_them():
    assert blended([2.0, 4.0, 3.0], [-5.0, 5.0, 0.0], 0.5) == [0.0, 1.0, 0.5]
    assert blended([1.0, 0.0], [0.0, 10.0], 1.0) == [0.0, 1.0]
    assert blended([1.0, 0.0], [0.0, 10.0], 0.25) == [0.75, 0.25]
    assert blended([3.0, 3.0], [1.0, 1.0], 0.5) == [0.0, 0.0]
    assert blended([], [], 0.5) == []


def test_a_passage_is_read_under_its_title_and_headings():
    assert text_of("Duo", ["Duo", "Errors"], "E4 means heat.") == "Duo > Errors\nE4 means heat."
    assert text_of("", [], "Only text.") == "Only text."
