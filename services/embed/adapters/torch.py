"""Runs any sentence-transformers model with PyTorch, on CPU or GPU."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from sentence_transformers import SentenceTransformer

from services.common.models.precision import natural_dtype
from services.embed.domain import Vector

_LEAST_NORM = 1e-12


class TorchEmbedder:
    """The model in `folder`, in `natural_dtype`, normalised in float32."""

    def __init__(self, folder: Path, threads: int) -> None:
        if threads:
            torch.set_num_threads(threads)
        self._model = SentenceTransformer(str(folder), model_kwargs={"dtype": natural_dtype()})
        self.dimensions: int = self._model.get_embedding_dimension()

    def embed(self, texts: Sequence[str]) -> Vector:
        """Return unit vectors, float32, shape (len(texts), dimensions)."""
        tensor = self._model.encode(list(texts), convert_to_tensor=True, show_progress_bar=False)
        vectors = tensor.float().cpu().numpy()
        return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), _LEAST_NORM), np.float32)
